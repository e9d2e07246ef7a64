"""What hqc does not lower."""

from __future__ import annotations

import numpy as np

from hqc.dialect import DIALECT
from tests.fuzz.net import Net, Tensor, layer


@layer(lambda net, x: x.kind != "frames" and "unknown ops" in net.rare, 4)
def unknown_op(net: Net, x: Tensor) -> Tensor:
    """An op that hqc does not lower, or not here."""
    op_type = net.pick("Relu", "Abs", "QuantUniform", "Dropout", "GlobalAveragePool")
    if op_type == "QuantUniform":
        scale = net.constant(np.float32(0.1))
        name = net.op(op_type, x.name, scale, domain=DIALECT, bits=8)
    elif op_type == "GlobalAveragePool" and x.layout == "image":
        x = net.as_image(x)
        name = net.op(op_type, net.view(x.name, (x.shape[0], *x.shape[2:])))
        name = net.view(name, (*x.shape[:3], 1, 1))
        return net.tensor(name, "potentials", x, (1, 1))
    else:
        name = net.op("Identity" if op_type == "GlobalAveragePool" else op_type, x.name)
    return net.tensor(name, x.kind, x, high=x.high)
