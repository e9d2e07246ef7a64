"""The kernels that a layer of spikes may be computed by: which suit it, and how much each does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from hqc.codegen.load_tvm import load_tvm
from hqc.dialect.layouts import WORD
from hqc.dialect.planes import words

SPIKE_LAYERS = ("SpikeConv", "SpikeConvPotentials")
"""Ops that add weights of packed spikes."""

_SCALAR_BYTE_LANES = 2
"""Outputs that count as a vector of bytes where there are no vectors."""


@dataclass(frozen=True)
class Machine:
    """What kernels depend on: bits of a vector, 0 without, bytes of the first cache, whether shifts
    may be stored as bytes, twice what they take else, and whether there are dot products of bytes.
    """

    vector_bits: int
    first_cache: int
    widen: bool
    dots: bool


@dataclass(frozen=True)
class Work:
    """What a layer does in a run of all time steps.

    Sums are made at so many `positions`, of all steps; `rows` of weights are added to them in all,
    one for each spike that a position sees. `byte_vectors` hold a row as bytes, `word_vectors` as
    32-bit lanes. `codes` are the vectors of bytes of all weights. `listed` words of inputs are
    listed, and `anded` ones looked at, over all positions, planes and bits; `dotted` fours of
    inputs are multiplied over all positions. Codes are stored in fields of `field` bits. Outputs
    that are no multiple of 128 are `odd`: they fill blocks in part, or blocks that are no power of
    two. Weights come from beyond the first cache if `far`.
    """

    positions: int
    rows: float
    byte_vectors: float
    word_vectors: float
    codes: float
    listed: float
    anded: float
    dotted: float
    field: int
    odd: bool
    far: bool

    @classmethod
    def of(cls, node: ir.Node, machine: Machine, rate: float) -> Work:
        """The work of a layer whose inputs fire at a rate."""
        field = _field(node)
        channels, in_channels, height, width = node.inputs[1].shape.numpy()
        steps, out_height, out_width, *_ = node.outputs[0].shape.numpy()
        planes, taps = node.inputs[0].shape.numpy()[3], height * width
        positions, inputs = steps * out_height * out_width, in_channels * taps
        byte_vectors = channels / (machine.vector_bits // 8 or _SCALAR_BYTE_LANES)
        bits = node.attributes["weight_bits"].value
        return cls(
            positions=positions,
            rows=positions * inputs * planes * rate,
            byte_vectors=byte_vectors,
            word_vectors=channels / (machine.vector_bits // 32 or 1),
            codes=inputs * byte_vectors,
            listed=positions * height * words(in_channels) * planes,
            dotted=positions * words(in_channels) * (WORD // 4) * taps,
            anded=positions * words(in_channels) * taps * planes * bits,
            field=field,
            odd=words(channels) % 4 != 0,
            far=inputs * channels > machine.first_cache,
        )


Parts = Mapping[str, float]
"""How often a kernel does each of its parts, by their names in `hqc.targets.costs`."""


@dataclass(frozen=True)
class SpikeKernel:
    """A kernel: whether it suits a layer on a machine, the parts of its work, and whether it lists
    inputs."""

    suits: Callable[[ir.Node, Machine], bool]
    parts: Callable[[Work], Parts]
    lists: bool = False


def _field(node: ir.Node) -> int:
    # TVM, which kernels are written in, takes seconds to load: refused models do without.
    load_tvm()
    from hqc.codegen.kernels.spike_conv_fields import field_of

    return field_of(*(node.attributes[n].value for n in ("weight_bits", "weight_scheme")))


def _suits_fields(node: ir.Node, machine: Machine) -> bool:
    field, bits = _field(node), node.attributes["weight_bits"].value
    from hqc.codegen.kernels.spike_conv_fields import suits_fields

    stored = machine.widen or field < 8 or bits > 4
    return machine.vector_bits > 0 and suits_fields(node) and stored


def _suits_planes(node: ir.Node, machine: Machine) -> bool:
    load_tvm()
    from hqc.codegen.kernels.spike_conv_planes import suits_planes

    return suits_planes(node)


def _event_parts(work: Work) -> Parts:
    added = work.rows * work.byte_vectors
    return {
        "word": work.listed,
        "spike": work.rows,
        "eventsum": work.positions * work.byte_vectors,
        f"event{work.field}": added,
        "odd": added if work.odd else 0,
        "far": added if work.far else 0,
        "unpack": work.codes,
    }


def _field_parts(work: Work) -> Parts:
    added = work.rows * work.byte_vectors
    parts = {
        "word": work.listed,
        "spike": work.rows,
        "fieldsum": work.positions * work.byte_vectors,
        f"fields{work.field}": added,
        "far": added * work.field / 8 if work.far else 0,
    }
    if work.odd and work.field < 8:
        parts[f"odd{work.field}"] = added
    return parts


def _plane_parts(work: Work) -> Parts:
    return {"plane": work.anded * work.word_vectors}


def _suits_dense(node: ir.Node, machine: Machine) -> bool:
    load_tvm()
    from hqc.codegen.kernels.spike_conv_dense import suits_dense

    return node.op_type == "SpikeConv" and machine.dots and suits_dense(node)


def _dense_parts(work: Work) -> Parts:
    return {"dot": work.dotted * work.word_vectors, "unpack": work.codes}


SPIKE_KERNELS = {
    "event": SpikeKernel(lambda node, machine: True, _event_parts, lists=True),
    "fields": SpikeKernel(_suits_fields, _field_parts, lists=True),
    "planes": SpikeKernel(_suits_planes, _plane_parts),
    "dense": SpikeKernel(_suits_dense, _dense_parts),
}
"""By the names that the `kernel` attribute takes. A new kernel is a line here, one in `VARIANTS` of
`hqc/codegen/kernels/spike_conv.py`, and a part in `targets/costs.py` for what it alone does."""


def candidates(node: ir.Node, machine: Machine) -> list[str]:
    """The kernels that can compute a layer of spikes on a machine."""
    return [name for name, kernel in SPIKE_KERNELS.items() if kernel.suits(node, machine)]
