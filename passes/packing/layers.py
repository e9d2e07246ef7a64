"""A layer and the FixedPointLIF or Rescale that reads it are one kernel: no accumulator is stored.

Neurons and Rescales that read no layer are kernels on potentials.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.facts import Facts
from hqc.dialect.fixed_point_lif import NAMES
from hqc.dialect.intervals import INT32
from hqc.dialect.metadata import LAYER
from hqc.passes.axes import axes, spell
from hqc.passes.graph import constant, ints, unsupported
from hqc.passes.integer_rules.quantity import BITS, SCHEME
from hqc.passes.packing.packed import Packed, Packing, Sums, image, packs


@packs("ConvInteger")
@packs("IntegerConv", "IntegerDepthwiseConv", domain=DIALECT)
def defer_convolution(node: ir.Node, packing: Packing) -> Sums:
    """A convolution, left to what reads it."""
    _, channels, height, width = node.outputs[0].shape.numpy()
    window = (*node.inputs[1].shape.numpy()[2:], *ints(node, "strides", [1, 1]))
    if {*window} == {1} and not any(ints(node, "pads", [0])):
        # A window of one sees channels at any place and in any layout of positions.
        x = packing.with_channels(node, packing.input(node), 1)
        view = (x.view[0], *axes(("C", channels)), *x.view[2:])
        return Sums(node, x, view, {**x.sizes, "C": channels}, _fits(node))
    x = packing.image(node)
    sizes = {**x.sizes, "C": channels, "Y": height, "X": width}
    return Sums(node, x, image(sizes), sizes, _fits(node))


def _fits(node: ir.Node) -> bool:
    """Whether 32 bits hold the sums of a layer."""
    sums = Facts.of(node.outputs[0])
    return max(-sums.lowest, sums.highest) <= INT32


@packs("MatMulInteger")
@packs("IntegerMatMul", domain=DIALECT)
def defer_linear(node: ir.Node, packing: Packing) -> Sums:
    """A linear layer, left to what reads it: a convolution of one by one."""
    x = packing.with_channels(node, packing.input(node), -1)
    sizes = {**x.sizes, "C": node.outputs[0].shape.numpy()[-1]}
    return Sums(node, x, (*x.view[:-1], *axes(("C", sizes["C"]))), sizes, _fits(node))


@packs("FixedPointLIF", domain=DIALECT)
def pack_neurons(node: ir.Node, packing: Packing) -> Packed:
    """SpikeConv, DenseConv of frames, or PotentialNeurons."""
    source = _source(node, packing)
    sizes = source.sizes
    has_memory = node.attributes["leak_multiplier"].value or node.attributes["exact"].value
    if has_memory and source.view[0] != axes(("T", sizes["T"]))[0]:
        raise unsupported(
            node, f"its input's axes are [{spell(source.view)}], whose first is not time"
        )
    parameters = packing.by_channel(node.inputs[1:], sizes["C"])
    attributes = {name: node.attributes[name].value for name in NAMES}
    if isinstance(source, Sums):
        inputs, stored = _layer(packing, source)
        op_type = "DenseConv" if source.x.kind == "frames" else "SpikeConv"
        attributes |= stored
    else:
        inputs, op_type = [source.value], "PotentialNeurons"
        attributes["channels"] = sizes["C"]
    return packing.spikes(node, op_type, [*inputs, *parameters], source.view, sizes, **attributes)


@packs("Rescale", domain=DIALECT)
def pack_rescale(node: ir.Node, packing: Packing) -> Packed:
    """A convolution to potentials, by what it reads, or RescalePotentials."""
    source = _source(node, packing)
    parameters = packing.by_channel(node.inputs[1:], source.sizes["C"])
    attributes = {name: node.attributes[name].value for name in ("shift",)}
    if isinstance(source, Sums):
        op_type, inputs, stored = _to_potentials(packing, source)
        attributes |= stored
    else:
        inputs, op_type = [source.value], "RescalePotentials"
        attributes["channels"] = source.sizes["C"]
    return packing.potentials(node, op_type, [*inputs, *parameters], source, **attributes)


def _source(node: ir.Node, packing: Packing) -> Packed | Sums:
    """What neurons or a Rescale read: a layer's sums, or potentials whose channels they go by."""
    source = packing.env[node.inputs[0]]
    if isinstance(source, Sums):
        return source
    x = packing.input(node)
    for parameter in node.inputs[1:]:
        shape = parameter.shape.numpy()
        along = [i for i, n in enumerate(shape, len(x.view) - len(shape)) if n > 1]
        x = packing.with_channels(node, x, along[0]) if along else x
    return packing.as_potentials(node, x)


def _to_potentials(packing: Packing, sums: Sums) -> tuple[str, list[ir.Value], dict]:
    depthwise = sums.node.op_type == "IntegerDepthwiseConv"
    if depthwise and sums.x.kind == "spikes":
        sums = replace(sums, x=packing.as_potentials(sums.node, sums.x))
    inputs, stored = _layer(packing, sums)
    if sums.x.kind == "potentials":
        op_type = "DepthwiseConv" if depthwise else "PotentialConv"
    else:
        op_type = "FrameConvPotentials" if sums.x.kind == "frames" else "SpikeConvPotentials"
    return op_type, inputs, stored if sums.fits else {**stored, "wide": 1}


def _layer(packing: Packing, sums: Sums) -> tuple[list[ir.Value], dict]:
    """Input and codes of a layer, and the attributes that all its kernels have."""
    layer = sums.node
    codes = constant(layer.inputs[1])
    if codes.ndim == 2:
        codes = np.ascontiguousarray(codes.T)[:, :, None, None]
    meta = layer.inputs[1].metadata_props
    attributes = {
        "strides": ints(layer, "strides", [1, 1]),
        "pads": ints(layer, "pads", [0, 0, 0, 0]),
        "weight_bits": int(meta[BITS]),
        "weight_scheme": meta[SCHEME],
    }
    x = sums.x.value
    if sums.x.kind != "frames":
        attributes["channels"] = sums.x.sizes["C"]
    elif layer.op_type != "IntegerDepthwiseConv":
        x = _without_batch(packing, sums.x)
    else:
        raise unsupported(layer, "it reads frames, which only convolutions of all channels do")
    stored = packing.builder.initializer(codes, f"{layer.name}.codes")
    if LAYER in meta:
        stored.metadata_props[LAYER] = meta[LAYER]
    return [x, stored], attributes


def _without_batch(packing: Packing, x: Packed) -> ir.Value:
    """Frames [T, C, H, W] of [T, 1, C, H, W]."""
    shape = tuple(x.sizes[root] for root in "TCYX")
    target = packing.builder.initializer(np.array(shape, np.int64), "frames.shape")
    value = packing.builder.op(
        "Reshape", [x.value, target], shape, x.value.dtype, name="frames/Reshape"
    )
    Facts.of(x.value).under("T C Y X").write(value)
    return value
