"""Parts of positions, windows, joined tokens: modules whose numbers have to be moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hqc
from hqc.frontend.export import export
from hqc.models.lif import LIF
from hqc.quantize import apply_recipe

T, C, SIZE, D = 3, 3, 8, 12


class Rounded(torch.autograd.Function):
    """What integer neurons are trained as; halves go to even numbers, or up."""

    @staticmethod
    def forward(ctx, x, levels, up):
        clipped = torch.clamp(x, 0, levels)
        return torch.floor(clipped + 0.5) if up else torch.round(clipped)


class Part(nn.Module):
    """A stem whose spikes [T, 1, D, 8, 8] go through `part`, then a head on whatever it gives."""

    def __init__(self, part):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.lif = nn.Conv2d(C, D, 3, padding=1), LIF(v_threshold=0.3)
        self.conv, self.after = nn.Conv2d(D, D, 3, padding=1), LIF(v_threshold=0.2)
        self.linear, self.last = nn.Linear(D, D), LIF(v_threshold=0.2)
        self.few, self.head = nn.Linear(D // 2, D), nn.Linear(D, 5)
        self.norm = nn.BatchNorm1d(SIZE).eval()
        nn.init.uniform_(self.norm.running_mean, -0.2, 0.2)
        nn.init.uniform_(self.norm.weight, 0.5, 2.0)
        self.part = part

    def forward(self, x):
        x = self.lif(self.stem(x.flatten(0, 1)).unsqueeze(1))
        y = self.part(self, x)
        while y.ndim > 3 and y.shape[-1] == D:
            y = y.mean(-2)
        return self.head(y.mean(1)).mean(0) if y.shape[-1] == D and y.ndim == 3 else y


def tokens(x):
    """[T, 1, D, 8, 8] as [T, 1, 64, D]."""
    return x.flatten(3).transpose(-1, -2)


def heads(x, count=3):
    """[T, 1, 64, D] as [T, 1, heads, 64, d]."""
    return x.reshape(T, 1, -1, count, D // count).permute(0, 1, 3, 2, 4)


def window_attention(net, x, shift=0, heads=2):
    if shift:
        x = torch.roll(x, (-shift, -shift), (-2, -1))
    w = x.reshape(T, 1, D, 2, 4, 2, 4).permute(0, 1, 3, 5, 4, 6, 2).reshape(T, 4, 16, D)
    q = net.after(net.linear(w))
    q, k, v = (a.reshape(T, 4, 16, heads, D // heads).permute(0, 1, 3, 2, 4) for a in (q, w, q))
    y = net.last((q @ k.transpose(-2, -1)) @ v * 0.1)
    y = y.permute(0, 1, 3, 2, 4).reshape(T, 1, 2, 2, 4, 4, D)
    return y.permute(0, 1, 6, 2, 4, 3, 5).reshape(T, 1, D, 8, 8).permute(0, 1, 3, 4, 2)


def inception(net, x):
    rows = torch.cat([x[:, :, :, ::2], x[:, :, :, 1::2]], 3)
    return net.after(net.conv(rows[:, 0])).unsqueeze(1).permute(0, 1, 3, 4, 2)


def patches(net, x):
    """As Swin's merging of patches, with fewer channels."""
    x = x[:, :, : D // 2]
    quarters = [x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    y = torch.cat(quarters, 2)[:, :, : 2 * D : 2]
    return net.after(net.linear(tokens(y)))


PARTS = {
    "every second row": lambda net, x: net.after(net.linear(tokens(x[..., ::2, :]))),
    "rows 2 to 5 through a convolution": lambda net, x: (
        net.after(net.conv(x[:, 0, :, 2:6])).unsqueeze(1).permute(0, 1, 3, 4, 2)
    ),
    "flipped": lambda net, x: (
        net.after(net.conv(x[:, 0].flip(-1))).unsqueeze(1).permute(0, 1, 3, 4, 2)
    ),
    "shuffled channels": lambda net, x: (
        net.after(net.conv(x[:, 0].reshape(T, 3, 4, 8, 8).transpose(1, 2).reshape(T, D, 8, 8)))
        .unsqueeze(1)
        .permute(0, 1, 3, 4, 2)
    ),
    "pixels as channels": lambda net, x: net.after(
        net.linear(tokens(F.pixel_unshuffle(x[:, 0, :3], 2).unsqueeze(1)))
    ),
    "channels in another order": lambda net, x: net.after(
        net.linear(tokens(x[:, :, [3, 1, 1, 0, 11, 5, 7, 2, 4, 10, 9, 6]]))
    ),
    "some channels of a convolution": lambda net, x: (
        net.after(net.conv(x[:, 0])[:, [3, 1, 1, 0, 11, 5, 7, 2, 4, 10, 9, 6]])
        .unsqueeze(1)
        .permute(0, 1, 3, 4, 2)
    ),
    "rows by a list": lambda net, x: net.after(net.linear(tokens(x[..., [7, 0, 0, 3], :]))),
    "enlarged": lambda net, x: net.after(
        net.linear(tokens(F.interpolate(x[:, 0, :, 2:5], scale_factor=(3, 2)).unsqueeze(1)))
    ),
    "as a U-Net": lambda net, x: (
        net.after(net.conv(F.interpolate(F.max_pool2d(x[:, 0], 2), scale_factor=2) + x[:, 0]))
        .unsqueeze(1)
        .permute(0, 1, 3, 4, 2)
    ),
    "padded in five axes": lambda net, x: (
        net.after(net.conv(F.pad(net.conv(x[:, 0]).unsqueeze(1), (1, 2, 0, 1))[:, 0]))
        .unsqueeze(1)
        .permute(0, 1, 3, 4, 2)
    ),
    "rows in another order": inception,
    "patches merged": patches,
    "tokens joined": lambda net, x: net.after(
        net.linear(torch.cat([tokens(x)[:, :, :1], tokens(x), tokens(x)[:, :, 60:]], 2))
    ),
    "tokens and their sums joined": lambda net, x: net.after(
        net.linear(torch.cat([tokens(x), tokens(x) + tokens(x).flip(2)], 2))
    ),
    "potentials of tokens joined": lambda net, x: net.after(
        torch.cat([net.linear(tokens(x))[:, :, 3:9], 2 * net.linear(tokens(x))], 2)
    ),
    "windows": window_attention,
    "shifted windows": lambda net, x: window_attention(net, x, 2),
    "one head in windows": lambda net, x: window_attention(net, x, 2, 1),
    "a norm over rows": lambda net, x: net.after(
        net.norm(x[:, 0].permute(0, 2, 1, 3).reshape(T, 8, D * 8)).reshape(T, 1, 8, D, 8)
    ).permute(0, 1, 2, 4, 3),
    "a sum over rows": lambda net, x: net.after(net.linear(x.sum(3).transpose(-1, -2) / 4)),
    "a mean over a part of rows": lambda net, x: net.after(
        net.linear(x.reshape(T, 1, D, 4, 2, 8).mean(4).flatten(3).transpose(-1, -2))
    ),
    "a sum over channels and rows": lambda net, x: net.last(
        net.few(net.after(x.reshape(T, 1, 2, 6, 8, 8).sum((2, 4))).transpose(-1, -2))
    ),
    "a mask of rows": lambda net, x: net.after(
        net.linear(tokens(x * net.lif(x.sum((2, 4), keepdim=True) / 20)))
    ),
    "a mask of channels and a column": lambda net, x: net.after(
        net.linear(tokens(x * net.lif(x.sum(3, keepdim=True) / 4)))
    ),
    "a column added to an image": lambda net, x: net.after(
        net.linear(tokens(x + x[..., :1])) + net.linear(x.mean((3, 4)))[:, :, None]
    ),
    "an image and its transpose": lambda net, x: net.after(
        net.linear(tokens(x + x.transpose(-1, -2)))
    ),
    "a maximum over tokens and channels of heads": lambda net, x: net.after(
        net.linear(
            F.max_pool2d(tokens(x).reshape(T, 64, 2, 6).permute(0, 2, 1, 3), (1, 3), 1, (0, 1))
            .permute(0, 2, 1, 3)
            .reshape(T, 1, 64, D)
        )
    ),
    "a scale by row": lambda net, x: net.after(
        net.linear(tokens(x)).reshape(T, 1, 8, 8, D) * torch.linspace(0.5, 2, 8).reshape(8, 1, 1)
    ),
    "scores that neurons read": lambda net, x: net.last(
        net.lif(tokens(x) @ tokens(x).transpose(-1, -2) * 0.47) @ tokens(x) * 0.13
    ),
    "channels by channels": lambda net, x: (
        net.after(
            (heads(tokens(x)).transpose(-2, -1) @ heads(tokens(x)) * 0.1).reshape(T, 1, 3, 16)
        )
        .mean(-1, keepdim=True)
        .expand(T, 1, 3, D)
    ),
    "attention to fewer tokens": lambda net, x: net.after(
        (tokens(x) @ tokens(x)[:, :, ::4].transpose(-1, -2)) @ tokens(x)[:, :, ::4] * 0.047
    ),
    "attention by a scale a channel": lambda net, x: net.after(
        (heads(tokens(x)) @ heads(tokens(x)).transpose(-1, -2) @ heads(tokens(x)) * 0.1)
        .permute(0, 1, 3, 2, 4)
        .reshape(T, 1, 64, D)
        * torch.linspace(0.5, 2, D)
    ),
    "potentials times spikes": lambda net, x: net.after(
        net.linear(tokens(x)).transpose(-1, -2) @ tokens(x) * 0.05
    ),
    "spikes times potentials": lambda net, x: net.after(
        tokens(x).transpose(-1, -2) @ net.linear(tokens(x)) * 0.05
    ),
    "levels": lambda net, x: (
        net.after(net.conv(Rounded.apply(9 * net.conv(x[:, 0]), 4, False) / 4))
        .unsqueeze(1)
        .permute(0, 1, 3, 4, 2)
    ),
    "levels, halves up": lambda net, x: net.after(
        net.linear(Rounded.apply(tokens(x).sum(2, keepdim=True) / 4, 7, True) / 7)
    ),
    "attention of levels": lambda net, x: Rounded.apply(
        (lambda q: (q @ q.transpose(-1, -2)) @ torch.cat([q, q], -1) * 0.01)(
            Rounded.apply(4 * net.linear(tokens(x)), 3, False)
        )[..., :D],
        2,
        True,
    ),
    "features that leave": lambda net, x: net.linear(tokens(x)).mean(0).unsqueeze(0)[0],
    "maps of several classes": lambda net, x: net.conv(x[:, 0]).mean(0, keepdim=True),
    "attention of heads in the batch": lambda net, x: net.after(
        (lambda q: torch.bmm(torch.bmm(q, q.transpose(1, 2)), q) * 0.047)(
            tokens(x).reshape(T, 64, 3, 4).transpose(1, 2).reshape(3 * T, 64, 4)
        )
        .reshape(T, 3, 64, 4)
        .transpose(1, 2)
        .reshape(T, 1, 64, D)
    ),
    "a convolution of a mean over time": lambda net, x: F.max_pool2d(
        net.conv(x[:, 0].mean(0, keepdim=True)), 2
    ),
    "features of every step": lambda net, x: net.conv(x[:, 0])[:, :, ::3, 1:],
}


@pytest.mark.parametrize("name", PARTS)
def test_compiled_numbers_are_the_modules(name, tmp_path):
    net = Part(PARTS[name]).eval()
    apply_recipe(net, {"*": "4u"})
    path = tmp_path / "net.onnx"
    frames = [torch.randint(0, 4, (T, 1, C, SIZE, SIZE)).float() for _ in range(3)]
    export(net, frames, path, input_scale=1.0)
    found = hqc.verify(path, "host")
    assert found.ok, found
    artifact = hqc.compile(path, target="host", output=tmp_path / "build")
    seen = []
    for x in frames:
        for part in net.modules():
            if isinstance(part, LIF):
                part.v = None
        with torch.no_grad():
            expected = net(x).numpy()
        seen.append(artifact.run(x.numpy()))
        np.testing.assert_allclose(
            seen[-1].reshape(expected.shape), expected, atol=1e-4 * np.abs(expected).max()
        )
    assert not np.array_equal(seen[0], seen[1])
