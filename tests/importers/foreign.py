"""Small networks with quantizers of other notations, and what they are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

import hqc
from hqc.data.synthetic import frames_over_range
from hqc.frontend.load import load_model
from hqc.reference import ReferenceSession
from tests.refusals.case import Small


class Foreign(Small):
    """A network to which constants of any type of integers can be given."""

    def codes(self, array: object, kind: int = TensorProto.INT8) -> str:
        """An initializer of codes."""
        array = np.asarray(array)
        name = f"codes_{len(self.initializers)}"
        made = helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist())
        self.initializers.append(made)
        return name

    def dequantized(
        self,
        codes: object,
        scale: object,
        zero: object = None,
        kind: int = TensorProto.INT8,
        **attributes: object,
    ) -> str:
        """Constant codes through a DequantizeLinear."""
        given = [self.codes(codes, kind), self.constant(scale)]
        given += [] if zero is None else [self.codes(zero, kind)]
        return self.op("DequantizeLinear", *given, **{"name": "w", **attributes})

    def pair(
        self,
        x: str,
        scale: object,
        zero: object = 0,
        kind: int = TensorProto.UINT8,
        name: str = "q",
        clip: tuple[int, int] | None = None,
        **attributes: object,
    ) -> str:
        """QuantizeLinear, a Clip if its ends are given, and DequantizeLinear."""
        given = self.constant(scale), self.codes(zero, kind)
        codes = self.op("QuantizeLinear", x, *given, name=f"{name}.codes", **attributes)
        if clip is not None:
            ends = [self.codes(end, kind) for end in clip]
            codes = self.op("Clip", codes, *ends, name=f"{name}.clip")
        return self.op("DequantizeLinear", codes, *given, name=name, **attributes)


def same(path: Path, seed: int = 0) -> ir.Model:
    """The model that hqc reads of a file, which stock onnxruntime finds to be the same."""
    model = load_model(path)
    stock = ReferenceSession(ir.serde.deserialize_model(onnx.load(path)))
    ours = ReferenceSession(model)
    (name,) = (value.name for value in model.graph.inputs)
    differs = set()
    for recording in frames_over_range(model, seed):
        (expected,) = stock.run({name: recording.frames})
        (found,) = ours.run({name: recording.frames})
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
        differs.add(expected.tobytes())
    assert len(differs) > 1, "it says nothing"
    return model


def compiles(path: Path) -> None:
    """The file's network is compiled to what its floats say."""
    found = hqc.verify(path, "host")
    assert found.ok, found


def quantizers(model: ir.Model) -> dict[str, ir.Node]:
    """The quantizers of a dialect model, by name."""
    return {n.name: n for n in model.graph if n.op_type.startswith("Quant")}


def said(node: ir.Node) -> dict[str, int]:
    """A quantizer's attributes."""
    from hqc.dialect import find_op

    return find_op(node).attributes(node)


def values(node: ir.Node) -> np.ndarray:
    """What a quantizer of weights gives."""
    from hqc.dialect import find_op

    op = find_op(node)
    arrays = [v.const_value.numpy() for v in node.inputs]
    return op.reference(*arrays, **op.attributes(node))
