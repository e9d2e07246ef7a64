"""Views: passes/integer_rules/views.py and axes.py."""

from __future__ import annotations

import numpy as np

from hqc.dialect import DIALECT
from tests.refusals.case import D, H, T, W, refused


@refused(
    "node 'mix' (Reshape): its input's axes, [T C Y X] of [2, 6, 4, 5], cannot be followed to [2, "
    "4, 6, 5]: an axis would be a part of one mixed with a part of another",
    hint="keep time, channels and positions apart, or permute the axes before the view",
)
def a_view_that_mixes_axes(net):
    s = net.spikes()
    y = net.view(s, (T, H, D, W), name="mix")
    net.end(net.view(y, (T, D, H, W)))


@refused(
    "node 'view' (Reshape): it splits or merges the axis of 6 scales of weights of shape [6, 6]",
    hint="give their quantizer one scale, or view them before it",
)
def weights_whose_scales_are_split(net):
    scales = net.constant(np.linspace(0.1, 0.2, D))
    inputs = net.constant(np.ones((D, D))), scales
    codes = net.op("QuantUniform", *inputs, domain=DIALECT, bits=4)
    split = net.view(codes, (3, 2 * D, 1, 1), name="view")
    net.end(net.lif(net.op("Conv", net.spikes(2 * D), split, name="conv")), channels=3)
