"""Spikes become packed words, and every layer one kernel that ends in its neurons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir

from hqc.codegen.kernels.neurons import WORD
from hqc.dialect import DIALECT, KERNEL
from hqc.dialect.fixed_point_lif import NAMES
from hqc.dialect.planes import words
from hqc.passes.axes import VIEWS, Axes, axes, flatten, through_view
from hqc.passes.graph import GraphBuilder, constant, ints, unsupported
from hqc.passes.infer_ranges import RANGE
from hqc.passes.integer_rules.quantity import BITS, SCHEME, WIDE
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class PackSpikes(Pass):
    """Replace the integer graph by one of kernels on packed spikes.

    1. Spikes become uint32 [T, H, W, planes, words], channels last; a token is a position.
       Potentials become int32 [T, H, W, 32 words].
    2. A convolution or linear layer and the FixedPointLIF or Rescale that reads it become one
       kernel, so that accumulators are never stored.
    3. OrPool, SpikeAttention, Add and the sum before the classifier become their packed kernels;
       ops on potentials theirs.
    4. Views vanish: their axes are followed, and refused where a kernel would need a copy.
    """

    name: ClassVar[str] = "pack-spikes"

    def run(self, model: ir.Model) -> ir.Model:
        """Build the kernel model."""
        packing = _Packing(GraphBuilder(model.graph))
        for node in model.graph:
            packing.step(node)
        return packing.builder.finish(model, [packing.outputs[v] for v in model.graph.outputs])


@dataclass(frozen=True)
class _Tensor:
    """An integer tensor's value, laid out as `kind` says, and its logical axes.

    `summed` names the roots that the tensor is a sum over, and its value still has.
    """

    value: ir.Value
    view: Axes
    sizes: dict[str, int]
    kind: Literal["spikes", "potentials", "frames"] = "spikes"
    summed: frozenset[str] = frozenset()

    @property
    def planes(self) -> int:
        return self.value.shape.numpy()[3]


@dataclass(frozen=True)
class _Sums:
    """Accumulators that neurons, or a Rescale, are still to read; whether 32 bits hold them."""

    node: ir.Node
    x: _Tensor
    view: Axes
    sizes: dict[str, int]
    fits: bool = True


class _Packing:
    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder
        self.env: dict[ir.Value, _Tensor | _Sums] = {}
        self.outputs: dict[ir.Value, ir.Value] = {}
        self._steps: dict[tuple[str, str], Callable[[ir.Node], None]] = {
            (DIALECT, "QuantizeFrames"): self._frames,
            ("", "ConvInteger"): self._convolution,
            (DIALECT, "IntegerConv"): self._convolution,
            (DIALECT, "IntegerDepthwiseConv"): self._convolution,
            ("", "MatMulInteger"): self._linear,
            (DIALECT, "IntegerMatMul"): self._linear,
            (DIALECT, "FixedPointLIF"): self._neurons,
            (DIALECT, "Rescale"): self._rescale,
            (DIALECT, "OrPool"): self._pool,
            (DIALECT, "IntegerMaxPool"): self._pool,
            ("", "BitwiseAnd"): self._and,
            (DIALECT, "SpikeAttention"): self._attention,
            ("", "Add"): self._add,
            ("", "ReduceSum"): self._sum,
            (DIALECT, "IntegerLinear"): self._classifier,
        }

    def step(self, node: ir.Node) -> None:
        if not node.domain and node.op_type in VIEWS:
            source = self.env[node.inputs[0]]
            view = through_view(node, source.view)
            self.env[node.outputs[0]] = replace(source, view=view)
        elif step := self._steps.get((node.domain, node.op_type)):
            step(node)
        else:
            raise unsupported(node, "there is no packed kernel for it")

    def _input(self, node: ir.Node, index: int = 0) -> _Tensor:
        found = self.env[node.inputs[index]]
        if isinstance(found, _Sums):
            raise unsupported(node, "it reads sums that no neuron has read")
        if found.summed:
            found = self._summed_over_positions(node, found)
        return found

    def _constant(self, value: ir.Value) -> ir.Value:
        return self.builder.initializer(constant(value), value.name)

    def _kernel(
        self,
        node: ir.Node,
        op_type: str,
        inputs: list[ir.Value],
        sizes: dict[str, int],
        out_planes: int = 1,
        **attributes: object,
    ) -> ir.Value:
        shape = (sizes["T"], sizes["Y"], sizes["X"], out_planes, words(sizes["C"]))
        return self.builder.op(
            op_type, inputs, shape, ir.DataType.UINT32, name=node.name, domain=KERNEL, **attributes
        )

    def _potentials(
        self,
        node: ir.Node,
        op_type: str,
        inputs: list[ir.Value],
        like: _Tensor | _Sums,
        sizes: dict[str, int] | None = None,
        **attributes: object,
    ) -> _Tensor:
        """A kernel's potentials, with the axes of `like`; `sizes` where it changes them."""
        sizes = sizes or like.sizes
        value = self.builder.op(
            op_type,
            inputs,
            (sizes["T"], sizes["Y"], sizes["X"], WORD * words(sizes["C"])),
            ir.DataType.INT32,
            name=node.name,
            domain=KERNEL,
            **attributes,
        )
        return _Tensor(value, like.view, sizes, "potentials")

    def _by_channel(self, value: ir.Value, channels: int) -> ir.Value:
        array = np.broadcast_to(constant(value).reshape(-1), channels).copy()
        return self.builder.initializer(array, value.name)

    def _define(self, node: ir.Node, value: ir.Value, view: Axes, sizes: dict[str, int]) -> None:
        self.env[node.outputs[0]] = _Tensor(value, view, sizes)

    def _frames(self, node: ir.Node) -> None:
        shape = node.outputs[0].shape.numpy()
        if len(shape) != 5 or shape[1] != 1:
            raise unsupported(
                node, f"frames of shape {list(shape)}", "give frames [T, 1, C, H, W], one recording"
            )
        sizes = dict(zip("TCYX", (shape[0], *shape[2:]), strict=True))
        value = self.builder.op(
            "QuantizeFrames",
            [self.builder.inputs[0], self._constant(node.inputs[1])],
            shape,
            ir.DataType.UINT8,
            name=node.name,
            domain=DIALECT,
            qmax=node.attributes["qmax"].value,
        )
        view = axes(("T", sizes["T"]), None, *((r, sizes[r]) for r in "CYX"))
        self.env[node.outputs[0]] = _Tensor(value, view, sizes, "frames")

    def _convolution(self, node: ir.Node) -> None:
        x = self._input(node)
        if x.view != axes(*((r, x.sizes[r]) for r in "TCYX")):
            raise unsupported(node, "its input is not an image [T, C, H, W]")
        _, channels, height, width = node.outputs[0].shape.numpy()
        sizes = {**x.sizes, "C": channels, "Y": height, "X": width}
        view = axes(*((r, sizes[r]) for r in "TCYX"))
        fits = node.outputs[0].metadata_props.get(WIDE) is None
        self.env[node.outputs[0]] = _Sums(node, x, view, sizes, fits)

    def _linear(self, node: ir.Node) -> None:
        x = self._input(node)
        if x.view[-1] != axes(("C", x.sizes["C"]))[0]:
            raise unsupported(node, "its input's last axis is not the channels")
        sizes = {**x.sizes, "C": node.outputs[0].shape.numpy()[-1]}
        view = (*x.view[:-1], *axes(("C", sizes["C"])))
        self.env[node.outputs[0]] = _Sums(node, x, view, sizes)

    def _neurons(self, node: ir.Node) -> None:
        sums = self.env[node.inputs[0]]
        if isinstance(sums, _Tensor):
            sums = self._input(node)
        sizes = sums.sizes
        if sums.view[0] != axes(("T", sizes["T"]))[0]:
            raise unsupported(node, "its first axis is not time")
        parameters = [self._by_channel(v, sizes["C"]) for v in node.inputs[1:]]
        attributes = {name: node.attributes[name].value for name in NAMES}
        if isinstance(sums, _Tensor):
            if sums.kind != "potentials":
                raise unsupported(node, "it reads neither sums nor potentials")
            value = self._kernel(
                node,
                "PotentialNeurons",
                [sums.value, *parameters],
                sizes,
                channels=sizes["C"],
                **attributes,
            )
        else:
            inputs, stored = self._layer(sums)
            op_type = "DenseConv" if sums.x.kind == "frames" else "SpikeConv"
            value = self._kernel(
                node, op_type, [*inputs, *parameters], sizes, **attributes, **stored
            )
        self._define(node, value, sums.view, sizes)

    def _layer(self, sums: _Sums) -> tuple[list[ir.Value], dict]:
        """Input and codes of a layer, and the attributes that all its kernels have."""
        source = sums.node
        codes = constant(source.inputs[1])
        if codes.ndim == 2:
            codes = np.ascontiguousarray(codes.T)[:, :, None, None]
        meta = source.inputs[1].metadata_props
        attributes = {
            "strides": ints(source, "strides", [1, 1]),
            "pads": ints(source, "pads", [0, 0, 0, 0]),
            "weight_bits": int(meta[BITS]),
            "weight_scheme": meta[SCHEME],
        }
        x = sums.x.value
        if sums.x.kind != "frames":
            attributes["channels"] = sums.x.sizes["C"]
        elif source.op_type in ("ConvInteger", "IntegerConv"):
            # The plain image has its unit batch axis; the kernel wants [T, C, H, W].
            x = self._without_batch(sums.x)
        else:
            raise unsupported(source, "frames are lowered for convolutions of all channels only")
        return [x, self.builder.initializer(codes, f"{source.name}.codes")], attributes

    def _rescale(self, node: ir.Node) -> None:
        sums = self.env[node.inputs[0]]
        if isinstance(sums, _Tensor):
            sums = self._as_potentials(node, self._input(node))
        channels = sums.sizes["C"]
        parameters = [self._by_channel(v, channels) for v in node.inputs[1:]]
        held = {name: node.attributes[name].value for name in ("shift", "limit")}
        if isinstance(sums, _Tensor):
            self.env[node.outputs[0]] = self._potentials(
                node,
                "RescalePotentials",
                [sums.value, *parameters],
                sums,
                channels=channels,
                **held,
            )
            return
        depthwise = sums.node.op_type == "IntegerDepthwiseConv"
        if depthwise and sums.x.kind == "spikes":
            sums = replace(sums, x=self._as_potentials(sums.node, sums.x))
        inputs, stored = self._layer(sums)
        op_type = {"spikes": "SpikeConvPotentials", "frames": "FrameConvPotentials"}.get(
            sums.x.kind, "DepthwiseConv" if depthwise else "PotentialConv"
        )
        if sums.x.kind == "potentials":
            stored["wide"] = int(not sums.fits)
        self.env[node.outputs[0]] = self._potentials(
            node, op_type, [*inputs, *parameters], sums, **held, **stored
        )

    def _as_potentials(self, node: ir.Node, x: _Tensor) -> _Tensor:
        if x.kind == "potentials":
            return x
        if x.kind == "frames":
            raise unsupported(node, "it reads frames, not spikes")
        return self._potentials(node, "SpikesAsPotentials", [x.value], x, channels=x.sizes["C"])

    def _and(self, node: ir.Node) -> None:
        a, b = (self._input(node, i) for i in (0, 1))
        if a.sizes["Y"] * a.sizes["X"] < b.sizes["Y"] * b.sizes["X"]:
            a, b = b, a
        same = all(x.kind == "spikes" and x.planes == 1 for x in (a, b))
        everywhere = {**a.sizes, "Y": 1, "X": 1}
        if not same or b.sizes not in (a.sizes, everywhere):
            raise unsupported(
                node, "only spikes of one shape, or of a mask of channels, are joined"
            )
        if b.sizes == a.sizes and a.view != b.view:
            raise unsupported(node, "its inputs have different axes")
        self._define(
            node, self._kernel(node, "AndSpikes", [a.value, b.value], a.sizes), a.view, a.sizes
        )

    def _without_batch(self, x: _Tensor) -> ir.Value:
        shape = tuple(x.sizes[r] for r in "TCYX")
        target = self.builder.initializer(np.array(shape, np.int64), "frames.shape")
        return self.builder.op(
            "Reshape", [x.value, target], shape, ir.DataType.UINT8, name="frames/Reshape"
        )

    def _pool(self, node: ir.Node) -> None:
        x = self._input(node)
        if x.view != axes(*((r, x.sizes[r]) for r in "TCYX")):
            raise unsupported(node, "its input is not an image [T, C, H, W]")
        _, _, height, width = node.outputs[0].shape.numpy()
        sizes = {**x.sizes, "Y": height, "X": width}
        window = {n: node.attributes[n].value for n in ("kernel_shape", "strides", "pads")}
        if x.kind == "potentials":
            pooled = self._potentials(node, "PoolPotentials", [x.value], x, sizes, **window)
            self.env[node.outputs[0]] = replace(pooled, view=axes(*((r, sizes[r]) for r in "TCYX")))
            return
        value = self._kernel(node, "PackedPool", [x.value], sizes, channels=sizes["C"], **window)
        self._define(node, value, axes(*((r, sizes[r]) for r in "TCYX")), sizes)

    def _attention(self, node: ir.Node) -> None:
        q, k, v = (self._input(node, i) for i in range(3))
        tokens = axes(("T", q.sizes["T"]), None, None, ("C", q.sizes["C"]))
        position = flatten(axes(("Y", q.sizes["Y"]), ("X", q.sizes["X"])))
        wanted = (tokens[0], tokens[1], position, tokens[3])
        if any(x.view != wanted for x in (q, k, v)):
            raise unsupported(node, "q, k and v are not tokens [T, N, L, D]")
        attributes = {name: node.attributes[name].value for name in (*NAMES, "heads")}
        parameters = [self._constant(value) for value in node.inputs[3:]]
        inputs = [q.value, k.value, v.value, *parameters]
        value = self._kernel(
            node, "PackedAttention", inputs, q.sizes, channels=q.sizes["C"], **attributes
        )
        self._define(node, value, q.view, q.sizes)

    def _add(self, node: ir.Node) -> None:
        a, b = (self._input(node, i) for i in (0, 1))
        if a.view != b.view or a.sizes != b.sizes:
            raise unsupported(node, "its inputs have different axes")
        if {a.kind, b.kind} == {"potentials"}:
            self.env[node.outputs[0]] = self._potentials(
                node, "AddPotentials", [a.value, b.value], a
            )
            return
        high = int(node.outputs[0].metadata_props[RANGE])
        value = self._kernel(
            node,
            "AddPlanes",
            [a.value, b.value],
            a.sizes,
            planes := high.bit_length(),
            channels=a.sizes["C"],
            planes=planes,
        )
        self._define(node, value, a.view, a.sizes)

    def _sum(self, node: ir.Node) -> None:
        x = self.env[node.inputs[0]]
        if not isinstance(x, _Tensor):
            raise unsupported(node, "it reads sums that no neuron has read")
        reduced = {int(a) for a in constant(node.inputs[1])}
        summed = x.summed | {f.root for a in reduced for f in x.view[a]}
        keepdims = node.attributes["keepdims"].value
        view = tuple(
            () if i in reduced else axis
            for i, axis in enumerate(x.view)
            if keepdims or i not in reduced
        )
        partial = replace(x, view=view, summed=summed)
        if x.kind == "spikes" and summed == {r for r in "TYX" if x.sizes[r] > 1}:
            partial = self._counts(node, partial)
        self.env[node.outputs[0]] = partial

    def _summed_over_positions(self, node: ir.Node, x: _Tensor) -> _Tensor:
        if x.summed != {r for r in "YX" if x.sizes[r] > 1}:
            raise unsupported(node, "it reads a mean over only a part of time and position")
        sizes = {**x.sizes, "Y": 1, "X": 1}
        whole = replace(x, summed=frozenset())
        if x.kind == "potentials":
            return self._potentials(node, "SumPotentials", [x.value], whole, sizes)
        return self._potentials(node, "CountSpikes", [x.value], whole, sizes, channels=sizes["C"])

    def _counts(self, node: ir.Node, x: _Tensor) -> _Tensor:
        channels = x.sizes["C"]
        if flatten(x.view) != axes(("C", channels))[0]:
            raise unsupported(node, "it does not sum over all of time and position")
        value = self.builder.op(
            "SumSpikes",
            [x.value],
            (1, channels),
            ir.DataType.INT32,
            name=node.name,
            domain=KERNEL,
            channels=channels,
        )
        sizes = {**x.sizes, "T": 1, "Y": 1, "X": 1}
        return _Tensor(value, axes(None, ("C", channels)), sizes)

    def _classifier(self, node: ir.Node) -> None:
        x = self._input(node)
        kept = ("weight_bits", "weight_scheme", "wide")
        attributes = {n: node.attributes[n].value for n in kept if n in node.attributes}
        self.outputs[node.outputs[0]] = self.builder.op(
            "IntegerLinear",
            [x.value, *(self._constant(v) for v in node.inputs[1:])],
            node.outputs[0].shape.numpy(),
            ir.DataType.FLOAT,
            name=node.name,
            domain=DIALECT,
            **attributes,
        )
