"""A quantizer for the input of a network that has none: over the range of its examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.data.recordings import preprocessing_of
from hqc.dialect import DIALECT, find_op
from hqc.errors import UserError
from hqc.frontend.frames import is_quantized
from hqc.passes.graph import add_initializer


def quantize_input(
    model: ir.Model, examples: Sequence[np.ndarray], scale: float | None, bits: int = 8
) -> ir.Node | None:
    """Put a `QuantUniform` behind the input; return it, or None where the network has one.

    Counts, whole numbers from 0 to 2^bits - 1, get a scale of 1; pixels from 0 to 1 one of
    1 / (2^bits - 1); other frames the one that their largest magnitude needs. What is never
    negative is unsigned; signed codes are narrow, so that their range is symmetric. `scale`
    is taken in place of these; without examples, what the model's metadata say are normalized
    images is signed. Raises `UserError` for a scale that is not above 0, and for examples of
    nothing but zeros where none is given.
    """
    graph = model.graph
    if is_quantized(graph.inputs[0]):
        if scale is not None:
            raise UserError(
                "input_scale is given for a network that quantizes its input itself",
                hint="leave it out, or take the quantizer out of the network",
            )
        return None
    normalized = (preprocessing_of(model.metadata_props) or {}).keys() & {"mean", "std"}
    low = min((float(x.min()) for x in examples), default=-1.0 if normalized else 0.0)
    high = max((float(np.abs(x).max()) for x in examples), default=0.0)
    if scale is None:
        scale = _scale(examples, low, high, bits)
    elif not (np.isfinite(scale) and scale > 0):
        raise UserError(f"input_scale is {scale:g}, must be above 0")
    frames = graph.inputs[0]
    name = f"{frames.name}/QuantUniform"
    value = add_initializer(graph, np.array(scale, np.float32), f"{name}.scale")
    signed = int(low < 0)
    attributes = {"bits": bits, "signed": signed, "narrow": signed}
    node = ir.node("QuantUniform", [frames, value], attributes, domain=DIALECT, name=name)
    made = node.outputs[0]
    made.name, made.shape, made.type = name, frames.shape, frames.type
    frames.replace_all_uses_with(made)
    node.replace_input_with(0, frames)
    graph.insert_before(graph[0], node)
    return node


def _scale(examples: Sequence[np.ndarray], low: float, high: float, bits: int) -> float:
    if high == 0:
        raise UserError(
            "the examples are all zeros, which says nothing of the input's range",
            hint="give examples of real frames, or input_scale",
        )
    most = 2**bits - 1
    if low < 0:
        return high / (2 ** (bits - 1) - 1)
    whole = all(np.array_equal(x, np.round(x)) for x in examples)
    if whole and high <= most:
        return 1.0
    return 1 / most if high <= 1 else high / most


def quantized(node: ir.Node, frames: np.ndarray) -> np.ndarray:
    """Frames as that quantizer of the input gives them."""
    op = find_op(node)
    scale = node.inputs[1].const_value.numpy()
    return op.reference(frames, scale, **op.attributes(node)).astype(np.float32)
