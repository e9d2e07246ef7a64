"""Where in the arena every activation, scratch area and membrane potential lies."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.codegen.load_tvm import load_tvm
from hqc.dialect import find_op
from hqc.dialect.layouts import MOST_THREADS, alias_root, aligned, readout
from hqc.dialect.metadata import AREAS, ARENA, THREADS
from hqc.errors import UserError
from hqc.passes.pass_base import Pass, register


@dataclass(frozen=True)
class Area:
    """Bytes in use from the step that writes them to the last that reads them, both included."""

    size: int
    first: int
    last: int


def place(areas: list[Area]) -> tuple[list[int], int]:
    """An offset for each area, so that no two in use at once overlap; and the arena's size.

    Largest first, each at the lowest gap that holds it (Pisarchyk and Lee 2020, greedy by size).
    """
    offsets = [0] * len(areas)
    placed: list[int] = []
    for index in sorted(range(len(areas)), key=lambda i: -areas[i].size):
        area = areas[index]
        busy = sorted(
            (offsets[i], areas[i].size)
            for i in placed
            if areas[i].first <= area.last and area.first <= areas[i].last
        )
        offset = 0
        for start, size in busy:
            if start - offset >= area.size:
                break
            offset = max(offset, aligned(start + size))
        offsets[index] = offset
        placed.append(index)
    end = max((o + a.size for o, a in zip(offsets, areas, strict=True)), default=0)
    return offsets, aligned(end)


@dataclass(frozen=True)
class _Own:
    """Bytes of a kernel's own: scratch, or the potential that lasts between time steps.

    `size` is one call's, step by step; the others are those of all calls that run at once.
    """

    kind: str
    size: int
    run_size: int
    stream_size: int

    def area(self, index: int, steps: int, plan: str) -> Area:
        """What it takes in a plan; the kernel is call `index` of so many."""
        if plan == "run":
            return Area(self.run_size, index, index)
        lasts = self.kind == "potential"
        return Area(self.stream_size, 0, steps) if lasts else Area(self.stream_size, index, index)


def _own_areas(node: ir.Node, vector: bool, threads: int) -> list[_Own]:
    # TVM, which kernels are written in, takes seconds to load: models that are refused do without.
    load_tvm()
    from hqc.codegen.kernels import Scratch, State, find_kernel, is_each_calls_own

    call = find_kernel(node)(node, vector)
    calls = max(min(threads, call.rows), 1)

    def of_all(operand: Scratch | State, size: int, computes_all: bool) -> int:
        others = calls - 1 if is_each_calls_own(operand, computes_all) else 0
        return others * aligned(size) + size

    own = []
    for operand in call.operands:
        if isinstance(operand, Scratch | State):
            is_scratch = isinstance(operand, Scratch)
            run_size = of_all(operand, operand.size if is_scratch else operand.run_size, True)
            stream_size = of_all(operand, operand.size, False)
            kind = "scratch" if is_scratch else "potential"
            own.append(_Own(kind, operand.size, run_size, stream_size))
    return own


@register
@dataclass(frozen=True)
class PlanMemory(Pass):
    """Write arena offsets into the metadata of values and nodes, in two plans.

    1. run: one call computes all time steps, layer by layer. Activations hold every step;
       potentials last only while their layer runs.
    2. stream: one call a step. Activations hold one step; potentials and spike counts last. What
       runs once, after the last step, is as in a run.

    Calls of a kernel that run at once, each for some of its rows, have scratch areas of their own,
    and in a run potentials: as many as `threads`, or as there are rows, one behind the other.

    `vector_bits` describes the target: kernels without vectors need other scratch areas.
    """

    name: ClassVar[str] = "plan-memory"
    vector_bits: int = 128
    threads: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= MOST_THREADS:
            raise UserError(
                f"{self.threads} threads cannot share an inference",
                hint=f"memory is planned for 1 to {MOST_THREADS} threads",
            )

    def run(self, model: ir.Model) -> ir.Model:
        """Annotate; the graph stays as it is."""
        nodes = [n for n in model.graph if n.op_type != "Reshape"]
        outputs = set(model.graph.outputs)
        values = {n.outputs[0]: i for i, n in enumerate(nodes) if n.outputs[0] not in outputs}
        last = dict(values)
        for index, node in enumerate(nodes):
            for value in map(alias_root, filter(None, node.inputs)):
                if value in last:
                    last[value] = index
        own = [_own_areas(n, self.vector_bits > 0, self.threads) for n in nodes]
        after = readout(model.graph)
        sizes: dict[str, int] = {}
        maps: dict[str, list[dict]] = {}
        placed: dict[object, dict[str, object]] = {k: {} for k in (*values, *nodes)}
        for plan in ("run", "stream"):
            plans = ["run" if node in after else plan for node in nodes]
            areas = [_value_area(v, i, last[v], len(nodes), plans[i]) for v, i in values.items()]
            for index, group in enumerate(own):
                areas += [o.area(index, len(nodes), plans[index]) for o in group]
            offsets, sizes[plan] = place(areas)
            names = [(v.name, "activation") for v in values]
            for node, group in zip(nodes, own, strict=True):
                names += [(node.name, o.kind) for o in group]
            maps[plan] = [
                {
                    "name": name,
                    "kind": kind,
                    "bytes": area.size,
                    "offset": offset,
                    "first": area.first,
                    "last": area.last,
                }
                for (name, kind), area, offset in zip(names, areas, offsets, strict=True)
            ]
            remaining = iter(offsets)
            for value in values:
                placed[value][plan] = next(remaining)
            for node, group in zip(nodes, own, strict=True):
                placed[node][plan] = [next(remaining) for _ in group]
        for node, group in zip(nodes, own, strict=True):
            placed[node]["bytes"] = [o.size for o in group]
        for key, plans in placed.items():
            key.metadata_props[ARENA] = json.dumps(plans)
        model.metadata_props[ARENA] = json.dumps(sizes)
        model.metadata_props[AREAS] = json.dumps(maps)
        if self.threads > 1:
            model.metadata_props[THREADS] = str(self.threads)
        return model


def _value_area(value: ir.Value, first: int, last: int, steps: int, plan: str) -> Area:
    shape = value.shape.numpy()
    size = math.prod(shape) * int(value.dtype.itemsize)
    if plan == "run":
        return Area(size, first, last)
    if find_op(value.producer()).lasts:
        return Area(size, 0, steps)
    return Area(size // shape[0], first, last)
