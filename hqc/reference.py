"""Running a model, at any stage, in stock onnxruntime: the meaning that all else is compared to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir


class ReferenceSession:
    """An onnxruntime session without graph optimizations, one thread.

    The optimizations replace some patterns of quantized models by kernels that are not exact.
    `watch` names values inside the graph to return besides the outputs.
    """

    def __init__(self, model: ir.Model, watch: Sequence[str] = ()) -> None:
        import onnxruntime  # heavy: loaded when a model is first run

        proto = ir.serde.serialize_model(model)
        for name in watch:
            proto.graph.output.add().name = name
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, then the watched values."""
        return self._session.run(None, dict(feeds))


def run_reference(
    model: ir.Model, feeds: Mapping[str, np.ndarray], watch: Sequence[str] = ()
) -> list[np.ndarray]:
    """Run once: the model's outputs, then the watched values."""
    return ReferenceSession(model, watch).run(feeds)
