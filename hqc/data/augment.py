"""Variations of training batches [T, N, C, H, W]; every time step of a recording alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted(frames: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    """Each recording moved by up to `pixels` in x and y, zeros moving in."""
    height, width = frames.shape[-2:]
    moves = torch.randint(-pixels, pixels + 1, (frames.shape[1], 2), generator=generator)
    padded = F.pad(frames, (pixels,) * 4)
    return torch.stack(
        [
            padded[:, i, :, pixels + y : pixels + y + height, pixels + x : pixels + x + width]
            for i, (y, x) in enumerate(moves.tolist())
        ],
        1,
    )


def mirrored(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Each recording mirrored left to right with a chance of one half."""
    chosen = torch.rand(frames.shape[1], generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], frames.flip(-1), frames)
