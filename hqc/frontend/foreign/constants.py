"""What a graph computes from constants alone, before its weights are read."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from hqc.dialect import find_op
from hqc.errors import in_short
from hqc.passes.graph import constant, unsupported

_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial")


class Constants:
    """The arrays that values of a graph are known to be."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, bool] = {}
        self._arrays: dict[ir.Value, np.ndarray] = {}

    def is_constant(self, value: ir.Value | None) -> bool:
        """Whether the graph computes a value from constants alone."""
        pending = [value]
        while pending:
            current = pending[-1]
            if current is None or current in self._known:
                pending.pop()
                continue
            node = current.producer()
            if node is None or not _is_computable(node):
                self._known[current] = constant(current) is not None
                continue
            unknown = [v for v in node.inputs if v is not None and v not in self._known]
            if unknown:
                pending += unknown
            else:
                self._known[current] = all(self._known[v] for v in node.inputs if v is not None)
        return value is None or self._known[value]

    def array(self, value: ir.Value) -> np.ndarray:
        """Such a value's array."""
        found = constant(value)
        if found is not None:
            return found
        if value not in self._arrays:
            node = value.producer()
            arrays = [None if v is None else self.array(v) for v in node.inputs]
            self._arrays[value] = _evaluated(node, arrays, value.index())
        return self._arrays[value]


def _is_computable(node: ir.Node) -> bool:
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    if any(a.type in graphs for a in node.attributes.values()) or not node.inputs:
        return False
    return find_op(node) is not None or (not node.domain and node.op_type not in _RANDOM)


def _evaluated(node: ir.Node, arrays: list[np.ndarray | None], index: int) -> np.ndarray:
    op = find_op(node)
    if op is not None:
        return op.reference(*arrays, **op.attributes(node))
    proto = ir.serde.serialize_node(node)
    feeds = {n: a for n, a in zip(proto.input, arrays, strict=True) if a is not None}
    version = node.graph.opset_imports[""]
    graph = onnx.helper.make_graph(
        [proto],
        "constants",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds],
        [onnx.helper.make_value_info(proto.output[index], onnx.TypeProto())],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
    try:
        (result,) = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # whatever the op stumbles over
        raise unsupported(
            node, f"its constants cannot be computed: {in_short(error)}", "does the model run?"
        ) from None
    return np.asarray(result)
