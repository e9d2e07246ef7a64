"""Uniform quantization with a learned step size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hqc.quantize.straight_through import straight_through, working_scale


class QuantUniform(nn.Module):
    """clip(round(x / scale), qmin, qmax) * scale, with one learned scale per channel of axis 0.

    qmin = -2^(b-1) (+1 if narrow) and qmax = 2^(b-1) - 1 when signed, else 0 and 2^b - 1. Gradients
    reach x where it is not clipped, and the scale as in LSQ (Esser et al. 2020, equation 3).
    Equal, bit for bit, to the dialect's `QuantUniform`.
    """

    def __init__(
        self,
        bits: int,
        channels: int | None = None,
        signed: bool = True,
        narrow: bool = False,
        axis: int = 0,
    ) -> None:
        super().__init__()
        self.bits, self.signed, self.narrow, self.axis = bits, signed, narrow, axis
        self.qmin = -(2 ** (bits - 1)) + int(narrow) if signed else 0
        self.qmax = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        self.scale = nn.Parameter(torch.ones(() if channels is None else channels))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, signed={self.signed}, narrow={self.narrow}"

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the scale by LSQ's rule, 2 mean|x| / sqrt(qmax), per channel where there are such."""
        magnitude = x.abs().flatten(1).mean(1) if self.scale.ndim else x.abs().mean()
        self.scale.copy_((2 * magnitude / max(self.qmax, 1) ** 0.5).clamp(min=1e-8))

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "ai.hqc::QuantUniform",
                (x, self.scale),
                {
                    "bits": self.bits,
                    "signed": int(self.signed),
                    "narrow": int(self.narrow),
                    "axis": self.axis,
                },
                dtype=x.dtype,
                shape=x.shape,
                version=1,
            )
        damping = (x.numel() * self.qmax) ** -0.5
        scale = working_scale(self.scale, x, self.axis, damping, training=self.training)
        ratio = x / scale
        rounded = ratio.detach().round()
        codes = rounded.clamp(self.qmin, self.qmax)
        return straight_through(codes, ratio, codes == rounded) * scale
