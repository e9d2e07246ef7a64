"""Peer: the same network in floats in onnxruntime, neurons unrolled, all optimizations on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from hqc.bench.peer import Runner, peer
from hqc.copies import copy_model
from hqc.passes import parse_pipeline, run_passes


def standard_model(model: ir.Model) -> onnx.ModelProto:
    """The network in standard ONNX, without quantizers of weights or loops."""
    steps = parse_pipeline("fold-quantizers,fold-batch-norm,unroll-lif")
    return ir.serde.serialize_model(run_passes(copy_model(model), steps))


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
