"""Views: passes/integer_rules/views.py and axes.py."""

from __future__ import annotations

from tests.refusals.case import D, H, T, W, refused


@refused("?")
def sums_whose_channels_are_split(net):
    y = net.view(net.conv(net.spikes()), (T, 2, D // 2, H, W), name="split")
    net.end(net.view(net.lif(y), (T, D, H, W)))


@refused("?")
def a_view_that_mixes_axes(net):
    s = net.spikes()
    y = net.view(s, (T, H, D, W), name="mix")
    net.end(net.view(y, (T, D, H, W)))
