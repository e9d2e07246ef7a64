"""Attention: passes/fuse_attention.py and packing/attention.py."""

from __future__ import annotations

from tests.refusals.case import D, H, Small, T, W, refused

L = H * W


def parts(net: Small, tokens: int = L) -> list[str]:
    """q, k and v as [T, 1, tokens, D]; k is not transposed yet."""
    return [net.tokens(name) for name in "qkv"]


def turned(net: Small, x: str) -> str:
    """The last two of four axes exchanged."""
    return net.op("Transpose", x, perm=[0, 1, 3, 2])


def attention(net: Small, scale: float = 0.5) -> None:
    """A sound one, unless its scale is not."""
    q, k, v = parts(net)
    scores = net.op("MatMul", q, turned(net, k), name="scores")
    y = net.op("MatMul", scores, v, name="product")
    net.end_of_tokens(net.lif(net.op("Mul", y, net.constant(scale)), name="attention"))


@refused("?")
def a_product_of_two_that_neurons_read(net):
    q, k, _ = parts(net)
    y = net.op("MatMul", q, turned(net, k), name="scores")
    net.end(net.lif(y, name="lif"), (0, 1, 2), L)


@refused("?")
def a_product_that_no_neurons_read(net):
    q, k, _ = parts(net)
    y = net.op("MatMul", q, turned(net, k), name="scores")
    net.end(y, (0, 1, 2), L)


@refused("?")
def scores_that_neurons_read(net):
    q, k, v = parts(net)
    scores = net.lif(net.op("MatMul", q, turned(net, k), name="scores"), name="lif")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, v, name="product")))


@refused("?")
def attention_to_fewer_tokens(net):
    q = net.tokens("q")
    few = net.op("MaxPool", net.spikes(name="k"), kernel_shape=[2, 1], strides=[2, 1])
    k = net.view(few, (T, 1, D, L // 2))
    y = net.op("MatMul", net.op("MatMul", q, k, name="scores"), turned(net, k), name="product")
    net.end_of_tokens(net.lif(y))


@refused("?")
def attention_between_channels(net):
    """K Q^T, not Q K^T, weighs the channels of v."""
    q, k, v = parts(net)
    scores = net.op("MatMul", turned(net, q), k, name="scores")
    y = net.op("MatMul", scores, turned(net, v), name="product")
    net.end(net.lif(y), (0, 1, 3))


@refused("?")
def attention_between_rows(net):
    """Along the columns of images, one of them each channel's."""
    q, k, v = (net.spikes(name=name) for name in "qkv")
    rows = [net.view(x, (T, D, 1, H, W)) for x in (q, k, v)]
    scores = net.op("MatMul", rows[0], net.op("Transpose", rows[1], perm=[0, 1, 2, 4, 3]), name="s")
    y = net.view(net.op("MatMul", scores, rows[2], name="product"), (T, D, H, W))
    net.end(net.lif(y, name="attention"))
