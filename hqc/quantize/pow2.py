"""Power-of-two quantization with a learned largest magnitude."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hqc.quantize.straight_through import straight_through, working_scale


class QuantPow2(nn.Module):
    """Nearest of {0, +-scale * 2^-k : k = 0 .. K-1}, K = 2^(b-1) - 1; ties go to the larger.

    2 bit: 0, +-s. 4 bit: 0 and seven magnitudes. The level is found by comparing |x| with the
    midpoints between levels. Gradients pass straight through inside the largest magnitude; the
    scale receives that of y = level * scale, as in LSQ.
    Equal, bit for bit, to the dialect's `QuantPow2`.
    """

    levels: Tensor
    midpoints: Tensor

    def __init__(self, bits: int, channels: int | None = None, axis: int = 0) -> None:
        super().__init__()
        self.bits, self.axis = bits, axis
        self.scale = nn.Parameter(torch.ones(() if channels is None else channels))
        levels = 2.0 ** -torch.arange(2 ** (bits - 1) - 1).flip(0)
        levels = torch.cat([torch.zeros(1), levels])
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("midpoints", (levels[1:] + levels[:-1]) / 2, persistent=False)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the scale to 1.5 mean|x| for 2 bits, to 0.75 max|x| for more."""
        rows = x.abs().flatten(1) if self.scale.ndim else x.abs().flatten()[None]
        scale = 1.5 * rows.mean(1) if self.bits == 2 else 0.75 * rows.amax(1)
        self.scale.copy_(scale.clamp(min=1e-8).reshape(self.scale.shape))

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "ai.hqc::QuantPow2",
                (x, self.scale),
                {"bits": self.bits, "axis": self.axis},
                dtype=x.dtype,
                shape=x.shape,
                version=1,
            )
        damping = x.numel() ** -0.5
        scale = working_scale(self.scale, x, self.axis, damping, training=self.training)
        ratio = x / scale
        level = self.levels[
            torch.bucketize(ratio.detach().abs().contiguous(), self.midpoints, right=True)
        ]
        return straight_through(ratio.sign() * level, ratio.clamp(-1, 1)) * scale
