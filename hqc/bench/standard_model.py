"""The network as other runtimes get it: floats, standard ONNX, neurons unrolled in time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime

from hqc.copies import copy_model
from hqc.passes import parse_pipeline, run_passes

_OWN_DOMAINS = ("", "ai.onnx")


def standard_model(model: ir.Model) -> onnx.ModelProto:
    """The network without quantizers of weights or loops; that of the input is a function in it."""
    steps = parse_pipeline("fold-quantizers,fold-batch-norm,unroll-lif")
    return ir.serde.serialize_model(run_passes(copy_model(model), steps))


def folded_model(model: ir.Model) -> onnx.ModelProto:
    """`standard_model` without functions, for runtimes that fold less by themselves.

    onnxruntime's basic optimizations fold constants and put BatchNorm into convolutions; what they
    write is standard ONNX.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="hqc-bench-") as folder:
        options.optimized_model_filepath = str(Path(folder, "folded.onnx"))
        given = standard_model(model).SerializeToString()
        onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        folded = onnx.load(options.optimized_model_filepath)
    standard = [o for o in folded.opset_import if o.domain in _OWN_DOMAINS]
    del folded.opset_import[:]
    folded.opset_import.extend(standard)
    return folded
