"""Neurons that are written out step by step -> LIF over all time steps.

Exporters of frameworks leave a handful of elementwise ops a step, in whatever form the framework
has them and constant folding leaves them. What they have in common is what is looked for: a number
that is compared with a threshold (the *gap* is how far it is above), that is an affine function of
the gap of the step before and of an input, and another where the neuron fired. Its coefficients
give tau, threshold and reset.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.metadata import WRITTEN
from hqc.errors import UnsupportedModelError
from hqc.frontend.affine import (
    VIEWS,
    Affine,
    Evaluation,
    Number,
    Side,
    is_elementwise,
)
from hqc.frontend.firings import Firing, Seen, behind, find_firings
from hqc.frontend.names import layer_of
from hqc.passes.graph import add_initializer, constant, unsupported

_CLOSE = 1e-5
"""Relative: constants were rounded to float32 more than once on their way."""

_WANTED = (
    "neurons over time are LIF, IF or parametric LIF with a hard or a soft reset: "
    "v = keep * v + gain * x, with numbers that are the same at every step"
)


@dataclass(frozen=True)
class _Step:
    """gap = keep * gap before + gain * x + bias; after a spike keep_fired and bias_fired."""

    keep: float
    gain: float
    x: ir.Value
    bias: Number
    keep_fired: float
    bias_fired: Number


def find_neurons(graph: ir.Graph) -> list[tuple[ir.Value, ir.Value]]:
    """Spikes of single steps, and those of layers over all steps, put at the end of the graph.

    Raises `UnsupportedModelError`, naming the node, for neurons that remember in another way.
    """
    firings = list(find_firings(graph))
    met: defaultdict[ir.Value, list[Firing]] = defaultdict(list)
    for firing in firings:
        for value in (*(x for x, _ in firing.way), *(n.outputs[0] for n in firing.nodes)):
            met[value].append(firing)
    before: dict[Firing, tuple[Firing, _Step]] = {}
    for firing in firings:
        refused = None
        for other in _reached(firing, met):
            try:
                step = _step(firing, other)
            except UnsupportedModelError as error:  # unless another is the one before
                refused = refused or error
                continue
            if step is not None:
                before[firing] = other, step
                break
        else:
            if refused is not None:
                raise refused
    pairs: dict[ir.Value, ir.Value] = {}
    followed = {other for other, _ in before.values()}
    integers: dict[tuple[int, ...], ir.Value] = {}
    for last in [f for f in firings if f in before and f not in followed]:
        chain = [last]
        while chain[0] in before:
            chain.insert(0, before[chain[0]][0])
        if any(len(met[x]) > 1 for x, _ in last.way):
            raise unsupported(
                last.node, "its potential is compared with more than one threshold", _WANTED
            )
        for old, new in _Layer(graph, chain, [before[f][1] for f in chain[1:]], integers).pairs():
            pairs.setdefault(old, new)  # layers may share their first step
    return list(pairs.items())


def _reached(firing: Firing, met: Mapping[ir.Value, Sequence[Firing]]) -> Iterator[Firing]:
    """The firings that a number depends on through elementwise ops, the nearest first.

    Of those that are as near, as of neurons that read one input, first those that it depends on.
    """
    compared = firing.way[0][0]
    given = {firing}
    for value in behind(compared):
        others = [other for other in met.get(value, ()) if other not in given]
        given.update(others)
        if len(others) > 1:
            all_behind = set(behind(compared))
            others.sort(key=lambda o: not any(n.outputs[0] in all_behind for n in o.nodes))
        yield from others


def _step(firing: Firing, before: Firing) -> _Step | None:
    """How a gap follows from that of a step before; None where that is another layer's.

    What is kept is the number compared, or one on its way, the nearest that the other depends on.
    """
    return next((s for seen in before.way if (s := _from(firing, before, seen))), None)


def _from(firing: Firing, before: Firing, seen: Seen) -> _Step | None:
    symbol, gap_before = seen
    depends = _dependence(before, symbol)
    compared, gap = firing.way[0]
    found = {}
    for side in Side:
        evaluation = Evaluation(gap_before, side, lambda v: v is symbol or not depends(v))
        number = evaluation.of(compared)
        if number is None:
            return None
        found[side] = Affine(gap.constant).plus(number, gap.of(compared))
    slope = gap_before.of(symbol)
    keep, keep_fired = (found[s].of(symbol) / slope for s in (Side.BELOW, Side.ABOVE))
    if not np.any(keep):
        return None
    bias, bias_fired = (
        found[s].constant - k * gap_before.constant
        for s, k in ((Side.BELOW, keep), (Side.ABOVE, keep_fired))
    )
    if np.all(_close(keep, keep_fired)) and not np.any(bias_fired - bias < -_CLOSE * _size(bias)):
        return None  # nothing is taken from it where it fires: a sum of both, as of a residual
    rest = {side: {v: c for v, c in found[side].terms.items() if v is not symbol} for side in Side}
    gains = rest[Side.BELOW]
    same = all(
        r.keys() == gains.keys() and all(np.all(_close(r[v], gains[v])) for v in r)
        for r in rest.values()
    )
    if len(gains) != 1 or not same:
        raise unsupported(
            firing.node,
            f"its neurons read {len(gains)} inputs besides what they keep, or read less of them "
            "where they fired",
            _WANTED,
        )
    at = found[Side.ABOVE if not firing.strict else Side.BELOW]
    if firing.strict != before.strict or not _same(found[Side.AT], at, seen):
        raise unsupported(
            firing.node, "what happens at the threshold is not what happens above or below", _WANTED
        )
    ((x, gain),) = gains.items()
    coefficients = {"keep": keep, "gain": gain, "keep_fired": keep_fired}
    for what, coefficient in coefficients.items():
        if np.size(coefficient) > 1:
            raise unsupported(
                firing.node, f"its neurons have {np.size(coefficient)} numbers for {what}", _WANTED
            )
    return _Step(float(keep), float(gain), x, bias, float(keep_fired), bias_fired)


def _same(a: Affine, b: Affine, before: Seen) -> bool:
    """Whether two are the same where the gap before is 0."""
    symbol, gap = before
    level = -gap.constant / gap.of(symbol)
    numbers = [x.constant + x.of(symbol) * level for x in (a, b)]
    return bool(np.all(np.abs(numbers[0] - numbers[1]) <= _CLOSE * (1 + np.abs(numbers[0]))))


def _dependence(before: Firing, symbol: ir.Value) -> Callable[[ir.Value], bool]:
    """A function that says whether a value depends, elementwise, on a number or its firing."""
    known: dict[ir.Value, bool] = {symbol: True}
    known |= {v: True for node in before.nodes for v in node.outputs}

    def depends(value: ir.Value) -> bool:
        stack = [value]
        while stack:
            top = stack[-1]
            if top in known:
                stack.pop()
                continue
            node = top.producer()
            inputs = [v for v in node.inputs if v is not None] if is_elementwise(node) else []
            unknown = [v for v in inputs if v not in known]
            if unknown:
                stack += unknown
                continue
            known[top] = any(known[v] for v in inputs)
            stack.pop()
        return known[value]

    return depends


def _lossless(step: _Step) -> bool:
    return bool(abs(step.keep - 1) <= _CLOSE)


def _at_rest(start: Number, rest: Number) -> bool:
    """Whether a gap that starts there, without input, is what it tends to."""
    return bool(np.all(np.abs(start - rest) <= _CLOSE * _size(rest)))


def _before_views(value: ir.Value) -> ir.Value:
    while (node := value.producer()) is not None and not node.domain and node.op_type in VIEWS:
        value = node.inputs[0]
    return value


def _alike(a: ir.Value, b: ir.Value) -> bool:
    """Whether two values are given by the same op, with the same constants, views left out."""
    nodes = [_before_views(value).producer() for value in (a, b)]
    if nodes[0] is None or nodes[1] is None:
        return nodes[0] is nodes[1]
    if nodes[0].op_type != nodes[1].op_type:
        return False
    numbers = [[constant(v) for v in node.inputs] for node in nodes]
    if nodes[0].op_type in ("Add", "Mul"):
        numbers = [sorted(given, key=lambda n: n is None) for given in numbers]
    return len(numbers[0]) == len(numbers[1]) and all(
        (x is None and y is None) or (x is not None and y is not None and np.array_equal(x, y))
        for x, y in zip(*numbers, strict=True)
    )


def _close(a: Number, b: Number) -> np.ndarray:
    return np.abs(a - b) <= _CLOSE * np.maximum(np.abs(a), np.abs(b))


def _size(x: Number) -> float:
    return 1 + float(np.abs(x).max())


class _Layer:
    """A layer of neurons: one firing a step, and what leads from each to the next.

    `integers` are constants that the layers of a graph share.
    """

    def __init__(
        self,
        graph: ir.Graph,
        chain: Sequence[Firing],
        steps: Sequence[_Step],
        integers: dict[tuple[int, ...], ir.Value],
    ) -> None:
        self._graph, self._chain, self._steps, self._shared = graph, chain, steps, integers
        self._node = chain[0].node
        self._name = layer_of([node for firing in chain for node in firing.nodes])

    def pairs(self) -> list[tuple[ir.Value, ir.Value]]:
        """Every step's spikes, and a slice of the layer's."""
        first, start = self._first()
        parts = [first, *(s.x for s in self._steps)]
        self._check_no_way_back(parts)
        attributes, scale = self._parameters(start)
        shape = self._chain[0].spikes[0][0].shape.numpy()
        joined = self._op(
            "Concat", [self._view(x, (1, *shape)) for x in parts], (len(parts), *shape), axis=0
        )
        if scale is not None:
            joined = self._op("Mul", [joined, self._constant(scale, "scale")], joined.shape.numpy())
        spikes = self._op("LIF", [joined], joined.shape.numpy(), DIALECT, **attributes)
        if self._name not in {node.name for node in self._graph}:
            spikes.producer().name = self._name
        found = []
        for t, firing in enumerate(self._chain):
            for value, low, high in firing.spikes:
                own = value.shape.numpy()
                made = self._op("Gather", [spikes, self._integers(t)], (1, *shape), axis=0)
                made = self._view(made, own)
                if high - low != 1:
                    made = self._op("Mul", [made, self._constant(high - low, "height")], own)
                if low:
                    made = self._op("Add", [made, self._constant(low, "base")], own)
                found.append((value, made))
        return found

    def _first(self) -> tuple[ir.Value, Number]:
        """What the first step reads, and its gap's constant.

        Constants that potentials start with are folded into it: of the numbers on its way, it is
        the one that is taken as much of as in the next step, best by an op like there, else the
        first of them.
        """
        firing, step = self._chain[0], self._steps[0]
        fitting = [
            (x, gap.constant)
            for x, gap in firing.way
            if np.size(gap.of(x)) == 1 and np.all(_close(gap.of(x), step.gain))
        ]
        if not fitting:
            raise self._refused(f"its first step does not take {step.gain:g} of its input")
        if not _lossless(step):
            rest = step.bias / (1 - step.keep)
            fitting = [f for f in fitting if _at_rest(f[1], rest)] or fitting
        return next((f for f in fitting if _alike(f[0], step.x)), fitting[-1])

    def _parameters(self, start: Number) -> tuple[dict[str, float], Number | None]:
        """Attributes of `LIF`, and what its input is to be multiplied by."""
        one = self._steps[0]
        for step in self._steps[1:]:
            for key in ("keep", "gain", "bias", "keep_fired", "bias_fired"):
                a, b = getattr(one, key), getattr(step, key)
                if not np.all(np.abs(a - b) <= _CLOSE * _size(a)):
                    raise self._refused(f"its {key} differs from step to step")
        keep, gain = one.keep, one.gain
        if not 0 < keep <= 1 + _CLOSE or not gain > 0:
            raise self._refused(f"keep is {keep:g}, gain {gain:g}")
        lossless = _lossless(one)
        if lossless and np.any(np.abs(one.bias) > _CLOSE * _size(start)):
            raise self._refused("its potentials grow by themselves")
        rest = start if lossless else one.bias / (1 - keep)
        if not _at_rest(start, rest):
            raise self._refused("its potentials do not start where they rest")
        threshold = -rest
        if not np.all(threshold > 0):
            raise self._refused("its neurons fire without any input")
        soft = bool(_close(one.keep_fired, keep))
        if not soft and one.keep_fired:
            raise self._refused(f"keep is {keep:g}, and {one.keep_fired:g} after a spike")
        if soft:
            level = threshold - (one.bias - one.bias_fired) / keep
        else:
            level = (one.bias_fired - rest) / keep
        decays = not lossless and abs(gain - (1 - keep)) <= _CLOSE * gain
        unit = np.float64((1 - keep) if decays else 1) / gain
        threshold, level = _as_one(threshold * unit), _as_one(level * unit)
        scale = None
        if threshold.ndim:
            scale, level, threshold = 1 / threshold, _as_one(level / threshold), np.float64(1)
        if level.ndim:
            raise self._refused("its neurons are reset to several levels")
        fires = float(np.float32(threshold))
        if self._chain[0].strict:
            fires = float(np.nextafter(np.float32(fires), np.float32(math.inf)))
        reset = float(np.float32(level)) if abs(level) > _CLOSE * fires else 0.0
        return {
            "tau": math.inf if lossless else 1 / (1 - keep),
            "v_threshold": fires,
            "v_reset": reset,
            "soft_reset": int(soft),
            "decay_input": int(decays),
        }, scale

    def _check_no_way_back(self, parts: Iterable[ir.Value]) -> None:
        own = {node for firing in self._chain for node in firing.nodes}
        pending = list(parts)
        seen = set(pending)
        while pending:
            node = pending.pop().producer()
            if node in own:
                raise self._refused("its neurons read their own spikes of earlier steps")
            for value in node.inputs if node is not None else ():
                if value is not None and value not in seen:
                    seen.add(value)
                    pending.append(value)

    def _refused(self, why: str) -> UnsupportedModelError:
        return unsupported(self._node, why, _WANTED)

    def _constant(self, array: Number, what: str) -> ir.Value:
        return add_initializer(self._graph, np.asarray(array, np.float32), f"{self._name}.{what}")

    def _integers(self, *numbers: int) -> ir.Value:
        if numbers not in self._shared:
            name = f"{self._name}.{'_'.join(map(str, numbers))}"
            self._shared[numbers] = add_initializer(self._graph, np.array(numbers), name)
        return self._shared[numbers]

    def _view(self, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        return self._op("Reshape", [x, self._integers(*shape)], shape)

    def _op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        shape: Sequence[int],
        domain: str = "",
        **attributes: float,
    ) -> ir.Value:
        name = f"{self._name}/{op_type}{len(self._graph)}"
        node = ir.node(op_type, inputs, attributes, domain=domain, name=name)
        node.metadata_props[WRITTEN] = self._node.op_type
        (value,) = node.outputs
        value.shape, value.type = ir.Shape(shape), self._chain[0].way[0][0].type
        value.name = f"{node.name}:{len(self._graph)}"
        self._graph.append(node)
        return value


def _as_one(array: Number) -> Number:
    """One number in place of numbers that are the same as float32, but for rounding."""
    first = np.reshape(array, -1)[0]
    return np.float64(first) if np.all(_close(array, first)) else np.asarray(array)
