"""Peer: the same network in floats in onnxruntime, neurons unrolled, all optimizations on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from hqc.bench.peer import Runner, peer
from hqc.bench.standard_model import standard_model


def session_runner(proto: onnx.ModelProto) -> Runner:
    """A runner on one thread of onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda frames: session.run(None, {name: frames})[0]


@peer("onnxruntime-fp32")
def build(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """onnxruntime with its default graph optimizations."""
    return session_runner(standard_model(model))
