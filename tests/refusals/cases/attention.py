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
    "node 'scores' (MatMul): neurons read a product of two activations that is neither (Q K^T) V "
    "nor Q (K^T V)",
    hint="write attention as (q @ k.transpose(-2, -1)) @ v over heads, without neurons between",
)
def scores_that_neurons_read(net):
    q, k, v = parts(net)
    scores = net.lif(net.op("MatMul", q, turned(net, k), name="scores"), name="lif")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, v, name="product")))


@refused(
    "node 'scores' (MatMul): the factors of the product have the axes [T 1 Y*X C], [T 1 C Y*X], "
    "[T 1 Y*X C], not the same time steps, heads, tokens and channels of a head",
    hint="write attention as (q @ k.transpose(-2, -1)) @ v over heads",
)
def attention_to_fewer_tokens(net):
    """Keys and values are of every other row."""
    q, k, v = parts(net, k=2, v=2)
    scores = net.op("MatMul", q, turned(net, k), name="scores")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, v, name="product")))


@refused(
    "node 's' (MatMul): the factors of the product have the axes [T C 1 Y X], [T C 1 X Y], [T C 1 "
    "Y X], not the same time steps, heads, tokens and channels of a head",
    hint="write attention as (q @ k.transpose(-2, -1)) @ v over heads",
)
def attention_between_rows(net):
    """Along the columns of images, one of them each channel's."""
    q, k, v = (net.spikes(name=name) for name in "qkv")
    rows = [net.view(x, (T, D, 1, H, W)) for x in (q, k, v)]
    scores = net.op("MatMul", rows[0], net.op("Transpose", rows[1], perm=[0, 1, 2, 4, 3]), name="s")
    y = net.view(net.op("MatMul", scores, rows[2], name="product"), (T, D, H, W))
    net.end(net.lif(y, name="attention"))


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


@refused(
    "node 'scores' (MatMul): the factors of the product have the axes [T 1 Y*X C], [T 1 C Y*X], "
    "[T 1 C Y*X]; wanted are Q, K^T and V, or V^T, K and Q^T, over tokens and the channels of a "
    "head",
    hint="write attention as (q @ k.transpose(-2, -1)) @ v over heads",
)
def attention_whose_values_are_turned(net):
    """There are as many tokens as channels."""
    net.frames = (T, 1, C, 2, 3)
    q, k, v = (net.tokens(name) for name in "qkv")
    scores = net.op("MatMul", q, turned(net, k), name="scores")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, turned(net, v), name="product")))


@refused(
    "node 'scores' (MatMul): a factor of the product is of neurons with the axes [T 1 C*Y*X]",
    hint="let neurons before attention keep time, channels and positions apart",
)
def attention_of_neurons_on_flattened_images(net):
    made = []
    for name in "qkv":
        flat = net.lif(net.view(net.spikes(name=name), (T, 1, D * L)))
        made.append(net.view(flat, (T, 1, D, L)))
    scores = net.op("MatMul", turned(net, made[0]), made[1], name="scores")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, turned(net, made[2]), name="product")))
