"""Frames for models that have no recordings beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.data.recordings import Recording
from hqc.dialect import DIALECT, find_op
from hqc.dialect.quant_uniform import code_range


def sparse_frames(shape: Sequence[int], count: int, seed: int = 0) -> list[np.ndarray]:
    """Seeded frames of small counts, mostly zero, as an event camera gives."""
    generator = np.random.default_rng(seed)
    return [generator.poisson(0.2, shape).astype(np.float32) for _ in range(count)]


def frames_over_range(model: ir.Model, seed: int = 0) -> list[Recording]:
    """Seeded frames that cover what a dialect model's input can hold, of the input's shape.

    All least, all greatest, noise over the whole range, noise at every other step, sparse counts.
    """
    (frames,) = model.graph.inputs
    shape = tuple(frames.shape.numpy())
    low, high = _range(frames)
    generator = np.random.default_rng(seed)
    noise = generator.uniform(low, high, shape)
    steps = (np.arange(shape[0]) % 2 == 0).reshape(-1, *[1] * (len(shape) - 1))
    kinds = {
        "all least": np.full(shape, low),
        "all greatest": np.full(shape, high),
        "noise": noise,
        "noise at every other step": np.where(steps, generator.uniform(low, high, shape), 0),
        "sparse counts": sparse_frames(shape, 1, seed)[0],
    }
    return [Recording(name, frames.astype(np.float32)) for name, frames in kinds.items()]


def _range(frames: ir.Value) -> tuple[float, float]:
    """The least and the greatest number that the input's quantizer tells apart."""
    for use in frames.uses():
        if (use.node.domain, use.node.op_type) == (DIALECT, "QuantUniform"):
            scale = use.node.inputs[1].const_value
            if scale is not None:
                step = float(np.max(scale.numpy()))
                attributes = find_op(use.node).attributes(use.node)
                low, high = code_range(*(attributes[n] for n in ("bits", "signed", "narrow")))
                return low * step, high * step
    return 0.0, 255.0
