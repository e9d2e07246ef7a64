"""Peer: the same network in floats in OpenVINO, on one thread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.bench.peer import Runner, peer
from hqc.bench.standard_model import folded_model

_OPTIONS = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    "INFERENCE_NUM_THREADS": "1",
    # It would take bfloat16 by itself on processors that have it.
    "INFERENCE_PRECISION_HINT": "f32",
}


@peer("openvino-fp32", needs=["openvino"])
def build(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """OpenVINO's processor plugin with its own graph optimizations, in float32."""
    import openvino

    core = openvino.Core()
    read = core.read_model(folded_model(model).SerializeToString())
    request = core.compile_model(read, "CPU", _OPTIONS).create_infer_request()
    return lambda frames: request.infer({0: frames})[0]
