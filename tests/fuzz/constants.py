"""Constants that are added or multiplied: one number, by channel, along any axes."""

from __future__ import annotations

import numpy as np

from tests.fuzz.net import Net, Tensor, layer


@layer(
    lambda net, x: True,
    3,
    rare=["constants along other axes", "negative factors"],
)
def constant_operand(net: Net, x: Tensor) -> Tensor:
    """A constant added to, or multiplied with, a tensor."""
    op_type = net.pick("Mul", "Add", "Div", "Sub")
    rng, data = net.rng(), net.data[x.name]
    along = [] if net.chance(30) else _axes(net, x)
    shape = [n if i in along else 1 for i, n in enumerate(x.shape)]
    if op_type in ("Mul", "Div"):
        array = rng.uniform(0.3, 2, shape) * net.pick(1.0, 1.0, 0.125, 8.0)
        if net.rarely("negative factors"):
            array = array * np.where(rng.random(shape) < 0.5, -1, 1)
        if op_type == "Mul" and net.rarely("dead channels"):
            array = array * (rng.random(shape) < 0.7)
    else:
        array = rng.normal(0, 0.5, shape) * max(float(np.abs(data).max()), 0.1)
    drop = net.number(0, min(along, default=len(shape))) if net.chance(50) else 0
    value = net.constant(array.reshape(shape[drop:]).astype(np.float32))
    if net.rarely("computed constants"):
        value = net.op("Identity", value)
    swapped = net.chance(15) and (op_type in ("Mul", "Add") or net.rarely("negative factors"))
    if swapped and op_type == "Div":
        swapped = False
    name = net.op(op_type, *((value, x.name) if swapped else (x.name, value)))
    scaled = x.kind == "spikes" and op_type in ("Mul", "Div") and array.size == 1
    kind = "spikes" if scaled and array.min() > 0 else "potentials"
    return net.tensor(name, kind, x, high=x.high)


def _axes(net: Net, x: Tensor) -> list[int]:
    """Axes along which a constant differs: the channels, another, or several.

    One as long as the channels is the likeliest of the others.
    """
    others = [i for i in range(2, len(x.shape)) if i != x.axis and x.shape[i] > 1]
    if net.rarely("constants along other axes", 20):
        return net.pick([0], [0, x.axis], list(range(2, len(x.shape))))
    if not others or net.chance(50):
        return [x.axis]
    if net.chance(30):
        return net.pick([x.axis, others[0]], others, [*others, x.axis])
    alike = [i for i in others if x.shape[i] == x.channels]
    return [net.pick(*(alike or others))]


@layer(lambda net, x: True, 2)
def norm(net: Net, x: Tensor) -> Tensor:
    """BatchNormalization of channels, or of another axis that is permuted to their place."""
    rest = list(x.shape[2:])
    flat = net.view(x.name, (x.shape[0], *rest))
    axis = x.axis - 1 if net.chance(40) else net.pick(*range(1, len(rest) + 1))
    others = [i for i in range(1, len(rest) + 1) if i != axis]
    perm = [0, axis, *(others if net.chance(60) else others[::-1])]
    back = [perm.index(i) for i in range(len(perm))]
    moved = perm != back or perm != sorted(perm)
    name = net.batch_norm(net.transpose(flat, *perm) if moved else flat)
    name = net.transpose(name, *back) if moved else name
    return net.tensor(net.view(name, x.shape), "potentials", x)
