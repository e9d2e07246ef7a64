"""Peer: the network in 8 bits, as onnxruntime's own static quantization makes it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from hqc.bench.onnxruntime_fp32 import session_runner
from hqc.bench.peer import Runner, peer
from hqc.bench.standard_model import standard_model


class _Frames(CalibrationDataReader):
    def __init__(self, name: str, frames: Sequence[np.ndarray]) -> None:
        self._feeds = iter([{name: f} for f in frames])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


@peer("onnxruntime-int8")
def build(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """Static QDQ quantization of products and convolutions, weights per channel."""
    with tempfile.TemporaryDirectory(prefix="hqc-bench-") as folder:
        source, made = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(standard_model(model), source)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)
        try:
            quantize_static(
                source,
                made,
                _Frames(model.graph.inputs[0].name, calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Gemm", "MatMul"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.getLogger().setLevel(level)
        return session_runner(onnx.load(made))
