"""Views: passes/integer_rules/views.py and axes.py."""

from __future__ import annotations

import numpy as np

from hqc.dialect import DIALECT
from tests.refusals.case import D, refused


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
