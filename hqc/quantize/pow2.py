"""Power-of-two quantization with a learned largest magnitude."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hqc.quantize.straight_through import straight_through, working_scale


def nearest_power(x: Tensor) -> Tensor:
    """The power of two nearest to each positive number, the larger of two equally near."""
    # Half a unit of the exponent, added to the bits, carries where the mantissa is 1.5 or more.
    bits = x.float().view(torch.int32) + 2**22
    return (bits & 0x7F800000).view(torch.float32).to(x.dtype)


class QuantPow2(nn.Module):
    """Nearest of {0, +-scale * 2^-k : k = 0 .. K-1}, K = 2^(b-1) - 1; ties go to the larger.

    2 bit: 0, +-s. 4 bit: 0 and seven magnitudes. Gradients pass straight through inside the largest
    magnitude; the scale receives that of y = level * scale, as in LSQ.
    Equal, bit for bit, to the dialect's `QuantPow2`.
    """

    def __init__(self, bits: int, channels: int | None = None, axis: int = 0) -> None:
        super().__init__()
        self.bits, self.axis = bits, axis
        self.scale = nn.Parameter(torch.ones(() if channels is None else channels))
        self.least = 2.0 ** (2 - 2 ** (bits - 1))

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
        magnitude = ratio.detach().abs()
        level = nearest_power(magnitude).clamp(self.least, 1) * (magnitude >= self.least / 2)
        return straight_through(ratio.sign() * level, ratio, magnitude <= 1) * scale
