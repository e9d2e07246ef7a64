"""Running a model, at any stage, in stock onnxruntime: the meaning that all else is compared to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.copies import without_large
from hqc.errors import NotRunnableError, in_short


class ReferenceSession:
    """An onnxruntime session without graph optimizations, one thread.

    The optimizations replace some patterns of quantized models by kernels that are not exact.
    `watch` names values inside the graph to return besides the outputs. Raises `NotRunnableError`
    where onnxruntime takes no such model.
    """

    _optimized: ClassVar[bool] = False

    def __init__(self, model: ir.Model, watch: Sequence[str] = ()) -> None:
        import onnxruntime  # heavy: loaded when a model is first run

        proto, aside = without_large(model)
        for name in watch:
            proto.graph.output.add().name = name
        options = onnxruntime.SessionOptions()
        if not self._optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        if aside:
            arrays = [tensor.numpy() for tensor in aside.values()]
            self._held = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in arrays]
            options.add_external_initializers(list(aside), self._held)
        self._name = model.graph.name
        try:
            self._session = onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own kinds, which have no base
            raise self._refused(error) from None

    def _refused(self, error: Exception) -> NotRunnableError:
        return NotRunnableError(
            f"onnxruntime does not run the model {self._name!r}: {in_short(error)}",
            hint="does it run by itself? onnxruntime.InferenceSession(file).run(None, frames)",
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, then the watched values. Raises `NotRunnableError`."""
        try:
            return self._session.run(None, dict(feeds))
        except Exception as error:  # onnxruntime's own kinds, which have no base
            raise self._refused(error) from None


class FastSession(ReferenceSession):
    """A session with all graph optimizations, for models of floats, which they round otherwise."""

    _optimized = True


def run_reference(
    model: ir.Model, feeds: Mapping[str, np.ndarray], watch: Sequence[str] = ()
) -> list[np.ndarray]:
    """Run once: the model's outputs, then the watched values."""
    return ReferenceSession(model, watch).run(feeds)
