"""QKFormer (Zhou et al., NeurIPS 2024), laid out as its authors' code has it.

The code is at github.com/zhouchenlin2096/QKFormer, with one file for CIFAR-10, one for ImageNet and
one for CIFAR10-DVS.

Two stages of token QK attention, one where frames come from events, go before one of spiking
self-attention; each begins with a patch embedding that has a shortcut of its own. Activations are
[T, B, C, H, W].
"""

from spikingjelly.activation_based import neuron
from torch import Tensor, nn


def lif(v_threshold: float = 1.0) -> neuron.LIFNode:
    """The neuron of every layer."""
    return neuron.LIFNode(tau=2.0, v_threshold=v_threshold, detach_reset=True, step_mode="m")


class ConvNeuron(nn.Module):
    """Convolution, BatchNorm, a max pool that halves the image if asked for, and neurons."""

    def __init__(self, c_in, c_out, kernel=3, stride=1, pool=False, bias=False):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=bias)
        self.bn = nn.BatchNorm2d(c_out)
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        self.lif = lif()

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, c_out, H / stride, W / stride], halved again by a pool."""
        y = self.pool(self.bn(self.conv(x.flatten(0, 1))))
        return self.lif(y.reshape(*x.shape[:2], *y.shape[1:]))


class TokenConv(nn.Module):
    """Pointwise convolution of tokens [T * B, C, N] and BatchNorm."""

    def __init__(self, dim, bias=False):
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, 1, bias=bias)
        self.bn = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T * B, C, N] -> [T * B, C, N]."""
        return self.bn(self.conv(x))


class TokenQKAttention(nn.Module):
    """Token QK attention: tokens whose query fires often enough in a head keep that head's key."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q_conv, self.q_lif = TokenConv(dim), lif()
        self.k_conv, self.k_lif = TokenConv(dim), lif()
        self.attn_lif = lif(0.5)
        self.proj_conv, self.proj_lif = TokenConv(dim, bias=True), lif()

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        T, B, C, H, W = x.shape
        tokens = x.flatten(3).flatten(0, 1)
        q = self.q_lif(self.q_conv(tokens).reshape(T, B, C, H * W))
        q = q.unsqueeze(2).reshape(T, B, self.heads, C // self.heads, H * W)
        k = self.k_lif(self.k_conv(tokens).reshape(T, B, C, H * W))
        k = k.unsqueeze(2).reshape(T, B, self.heads, C // self.heads, H * W)
        y = self.attn_lif(q.sum(dim=3, keepdim=True)) * k
        y = self.proj_conv(y.flatten(2, 3).flatten(0, 1))
        return self.proj_lif(y.reshape(T, B, C, H, W))


class SpikingSelfAttention(nn.Module):
    """Spiking self-attention without softmax, keys times values first."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q_conv, self.q_lif = TokenConv(dim), lif()
        self.k_conv, self.k_lif = TokenConv(dim), lif()
        self.v_conv, self.v_lif = TokenConv(dim), lif()
        self.attn_lif = lif(0.5)
        self.proj_conv, self.proj_lif = TokenConv(dim, bias=True), lif()

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        T, B, C, H, W = x.shape
        tokens = x.flatten(3).flatten(0, 1)

        def split_heads(conv, neurons):
            y = neurons(conv(tokens).reshape(T, B, C, H * W)).transpose(-1, -2)
            return y.reshape(T, B, H * W, self.heads, C // self.heads).permute(0, 1, 3, 2, 4)

        q = split_heads(self.q_conv, self.q_lif)
        k = split_heads(self.k_conv, self.k_lif)
        v = split_heads(self.v_conv, self.v_lif)
        y = (q @ (k.transpose(-2, -1) @ v)) * 0.125
        y = self.attn_lif(y.transpose(3, 4).reshape(T, B, C, H * W))
        # The published code gives these neurons time and batch as one axis: right for a batch of 1.
        return self.proj_lif(self.proj_conv(y.flatten(0, 1))).reshape(T, B, C, H, W)


class Block(nn.Module):
    """Attention, then an MLP of pointwise convolutions, each added to what it was given."""

    def __init__(self, attention, dim, mlp_ratio):
        super().__init__()
        self.attention = attention
        self.mlp = nn.Sequential(
            ConvNeuron(dim, dim * mlp_ratio, 1, bias=True),
            ConvNeuron(dim * mlp_ratio, dim, 1, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        x = x + self.attention(x)
        return x + self.mlp(x)


class PatchEmbed(nn.Module):
    """Patch embedding with deformed shortcut: a stem, then two branches whose spikes are added."""

    def __init__(self, stem, body, shortcut):
        super().__init__()
        self.stem, self.body, self.shortcut = nn.Sequential(*stem), nn.Sequential(*body), shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, dim, h, w]."""
        x = self.stem(x)
        return self.body(x) + self.shortcut(x)


class QKFormer(nn.Module):
    """Patch embeddings, each with its blocks, and a linear head on the mean of tokens and time.

    An image [B, C, H, W] is repeated `steps` times; frames [B, T, C, H, W], where `steps` is None,
    are permuted to [T, B, C, H, W].
    """

    def __init__(self, stages, dim, classes, steps):
        super().__init__()
        self.steps = steps
        self.stages = nn.Sequential(
            *(part for embed, blocks in stages for part in (embed, *blocks))
        )
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """An image or frames -> logits [B, classes]."""
        if self.steps is None:
            x = x.permute(1, 0, 2, 3, 4)
        else:
            x = x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)
        x = self.stages(x)
        return self.head(x.flatten(3).mean(3).mean(0))


def token_blocks(depth: int, dim: int, heads: int, mlp_ratio: int) -> list[Block]:
    """The blocks of a stage of token QK attention."""
    return [Block(TokenQKAttention(dim, heads), dim, mlp_ratio) for _ in range(depth)]


def attention_blocks(depth: int, dim: int, heads: int, mlp_ratio: int) -> list[Block]:
    """The blocks of a stage of spiking self-attention."""
    return [Block(SpikingSelfAttention(dim, heads), dim, mlp_ratio) for _ in range(depth)]


def pool_last(dim: int) -> PatchEmbed:
    """The embedding between stages for small images and for events: its second layer pools."""
    body = [ConvNeuron(dim // 2, dim), ConvNeuron(dim, dim, pool=True)]
    return PatchEmbed([], body, ConvNeuron(dim // 2, dim, 1, stride=2))


def pool_first(dim: int) -> PatchEmbed:
    """The embedding between stages for ImageNet: its first layer pools."""
    body = [ConvNeuron(dim // 2, dim, pool=True), ConvNeuron(dim, dim)]
    return PatchEmbed([], body, ConvNeuron(dim // 2, dim, 1, stride=2))


def qkformer_cifar10(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """The network for CIFAR-10, depth 4, 384 channels, 4 time steps; and the shape of its input."""
    dim, heads, depth, size = (48, 3, 3, 16) if small else (384, 8, 4, 32)
    d = dim // 4
    embed = PatchEmbed([ConvNeuron(3, d // 2)], [ConvNeuron(d // 2, d)], ConvNeuron(d // 2, d, 1))
    stages = [
        (embed, token_blocks(1, d, heads, 4)),
        (pool_last(2 * d), token_blocks(1, 2 * d, heads, 4)),
        (pool_last(dim), attention_blocks(depth - 2, dim, heads, 4)),
    ]
    return QKFormer(stages, dim, 10, 4), (1, 3, size, size)


def qkformer_imagenet(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """QKFormer-10-768, T = 4, for images of 224 x 224 pixels; and the shape of its input."""
    dim, heads, depth, size, steps, classes = (
        (48, 3, 4, 32, 2, 10) if small else (768, 12, 10, 224, 4, 1000)
    )
    d = dim // 4
    embed = PatchEmbed(
        [ConvNeuron(3, d // 2, pool=True)],
        [ConvNeuron(d // 2, d, pool=True), ConvNeuron(d, d)],
        ConvNeuron(d // 2, d, 1, stride=2),
    )
    stages = [
        (embed, token_blocks(1, d, heads, 4)),
        (pool_first(2 * d), token_blocks(2, 2 * d, heads, 4)),
        (pool_first(dim), attention_blocks(depth - 3, dim, heads, 4)),
    ]
    return QKFormer(stages, dim, classes, steps), (1, 3, size, size)


def qkformer_cifar10dvs(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """The network for CIFAR10-DVS, 256 channels, 16 frames of 128 x 128; and its input's shape."""
    dim, heads, size, steps = (64, 4, 32, 3) if small else (256, 16, 128, 16)
    d = dim // 2
    embed = PatchEmbed(
        [ConvNeuron(2, d // 8), ConvNeuron(d // 8, d // 4, pool=True)],
        [ConvNeuron(d // 4, d // 2, pool=True), ConvNeuron(d // 2, d, pool=True)],
        ConvNeuron(d // 4, d, 1, stride=4),
    )
    stages = [
        (embed, token_blocks(1, d, heads, 1)),
        (pool_last(dim), attention_blocks(1, dim, heads, 1)),
    ]
    return QKFormer(stages, dim, 10, None), (1, steps, 2, size, size)


NETWORKS = {
    "qkformer-cifar10": qkformer_cifar10,
    "qkformer-imagenet": qkformer_imagenet,
    "qkformer-cifar10dvs": qkformer_cifar10dvs,
}
