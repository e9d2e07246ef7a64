"""Attention: passes/fuse_attention.py and packing/attention.py."""

from __future__ import annotations

from tests.refusals.case import C, D, H, Small, T, W, refused

L = H * W


def parts(net: Small, channels: int = D, **strides: int) -> list[str]:
    """q, k and v as [T, 1, L, channels]; k is not transposed yet."""
    made = []
    for name in "qkv":
        stride = strides.get(name, 1)
        y = net.conv(net.image(), (C, channels), name=name, strides=[stride, 1])
        y = turned(net, net.view(y, (T, 1, channels, L // stride)))
        made.append(net.lif(y, v_threshold=2.0, name=f"{name}.lif"))
    return made


def turned(net: Small, x: str) -> str:
    """The last two of four axes exchanged."""
    return net.op("Transpose", x, perm=[0, 1, 3, 2])


def heads(net: Small, x: str, size: int = D // 2, channels: int = D) -> str:
    """[T, 1, L, channels] as [T, 1, heads, L, size]."""
    split = net.view(x, (T, 1, L, channels // size, size))
    return net.op("Transpose", split, perm=[0, 1, 3, 2, 4])


def product(net: Small, q: str, k: str, v: str, channels: int = D) -> str:
    """(Q K^T) V of heads, as [T, 1, L, channels]."""
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 2, 4, 3]), name="scores")
    y = net.op("MatMul", scores, v, name="product")
    return net.view(net.op("Transpose", y, perm=[0, 1, 3, 2, 4]), (T, 1, L, channels))


def attention(net: Small, scale: float = 0.5) -> None:
    """A sound one of two heads, unless its scale is not."""
    y = product(net, *(heads(net, x) for x in parts(net)))
    net.end_of_tokens(net.lif(net.op("Mul", y, net.constant(scale)), name="attention"))


@refused(
    "node 'attention': q, k and v of (8, 8, 8) bits over 20 tokens and 12 channels a head may add "
    "up to 3979530000, more than 32 bits hold",
    hint="put LIF neurons between a residual sum and the attention that reads it",
)
def attention_of_sums_that_need_all_planes(net):
    """They reach 129, which needs as many planes as 255; 32 bits hold sums of 129 * 129 * 129."""
    factors = []
    for spikes in parts(net, 12):
        x = spikes
        for _ in range(7):
            x = net.op("Add", x, x)
        factors.append(heads(net, net.op("Add", x, spikes), 12, 12))
    y = net.lif(product(net, *factors, channels=12), name="attention")
    net.end(y, (0, 1, 2), 12)
