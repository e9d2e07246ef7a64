"""QuantizeFrames: real frames to bytes, the compiled network's entry."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect_within, facts_of
from hqc.dialect.op import Op, register


def quantize_frames(
    x: np.ndarray,
    scale: np.ndarray,
    *,
    qmax: int,
    qmin: int = 0,
    to: int = ir.DataType.UINT8.value,
) -> np.ndarray:
    """clip(round(x / scale), qmin, qmax), half to even: float32, any shape -> uint8 or int8."""
    return np.clip(np.round(x / scale), qmin, qmax).astype(ir.DataType(to).numpy())


def _problem(attributes: dict) -> str | None:
    holds = {ir.DataType.UINT8: (0, 255), ir.DataType.INT8: (-128, 127)}
    low, high = holds.get(attributes["to"], (0, 0))
    qmin, qmax = attributes["qmin"], attributes["qmax"]
    return None if low <= qmin < qmax <= high else f"{qmin} to {qmax} are not bytes of its type"


def _verify(node: ir.Node) -> None:
    facts_of(node.outputs[0], "frames")
    qmin = node.attributes["qmin"].value if "qmin" in node.attributes else 0
    expect_within(node.outputs[0], np.array(qmin), np.array(node.attributes["qmax"].value))


QUANTIZE_FRAMES = register(
    Op(
        f"""
        QuantizeFrames <qmax, qmin: int = 0, to: int = {ir.DataType.UINT8.value}> (x, scale) => (y)
        {{
            low_int = Constant <value_int: int = @qmin> ()
            low = Cast <to = 1> (low_int)
            high_int = Constant <value_int: int = @qmax> ()
            high = Cast <to = 1> (high_int)
            ratio = Div(x, scale)
            rounded = Round(ratio)
            clipped = Clip(rounded, low, high)
            y = Cast <to: int = @to> (clipped)
        }}
        """,
        reference=quantize_frames,
        verify=_verify,
        check=_problem,
    )
)
