"""Random networks of the dialect: every op and attribute that a model file may hold.

A network is drawn layer by layer. A layer is a function in one of the modules below, registered for
the kinds of tensors that it reads; it adds nodes, whose values for one recording are computed at
once, so that the neurons that follow get a threshold that some of them reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hqc.dialect import DIALECT, OPSET, attach_functions
from hqc.passes import DEFAULT
from tests.fuzz import attention, blocks, constants, layouts, masks, mixed, pools, spelled, unknown
from tests.fuzz.heads import frames_in, head
from tests.fuzz.layers import conv
from tests.fuzz.net import RARE, Net, fitting
from tests.fuzz.neurons import lif

KINDS = (attention, blocks, constants, layouts, masks, mixed, pools, spelled, unknown)
"""Modules that register layers, beside `layers` and `neurons`."""


@dataclass(frozen=True)
class Network:
    """A drawn model, and the pipeline to compile it with; None is the default one."""

    proto: onnx.ModelProto
    passes: str | None = None
    rare: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the model's input."""
        (frames,) = (v for v in self.proto.graph.input if v.name == "frames")
        return tuple(d.dim_value for d in frames.type.tensor_type.shape.dim)

    def __repr__(self) -> str:
        counts = Counter(node.op_type for node in self.proto.graph.node)
        return f"Network({list(self.shape)}, {dict(counts)}, {list(self.rare)}, {self.passes})"


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A network of an input, some layers, and a head."""
    rare = draw(st.sampled_from([frozenset[str]()] * len(RARE) + [frozenset([r]) for r in RARE]))
    net = Net(draw, rare)
    given, x = frames_in(net)
    net.tensors.append(x)
    if net.chance(80):
        x = lif(net, conv(net, x))
        net.tensors.append(x)
    for _ in range(draw(st.integers(1, 6))):
        if net.chance(10):
            x = net.pick(*net.tensors)
        x = net.pick(*fitting(net, x))(net, x)
        net.tensors.append(x)
    if x.kind == "frames":
        x = lif(net, conv(net, x))
    logits = head(net, x)
    passes = None
    if net.chance(15):
        mode, bits = net.pick("auto", "exact", "guarded"), net.pick(32, 16)
        kernel = net.pick("planes", "event", "auto", "dense,dots=host")
        integers = f"make-integer{{mode={mode},potential_bits={bits}}}"
        passes = DEFAULT.replace("make-integer", integers)
        passes = passes.replace("choose-kernels", f"choose-kernels{{kernel={kernel}}}")
    return Network(_proto(net, given, logits), passes, tuple(sorted(rare)))


def _proto(net: Net, given: Sequence[int], logits: str) -> onnx.ModelProto:
    """The model file, with the bodies of the dialect's ops."""
    graph = helper.make_graph(
        net.nodes,
        "fuzzed",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, net.shape(logits))],
        net.initializers,
        value_info=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, net.shape(name))
            for node in net.nodes
            for name in node.output
            if name != logits and net.data[name].dtype == np.float32
        ],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DIALECT, 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return ir.serde.serialize_model(attach_functions(ir.serde.deserialize_model(proto)))
