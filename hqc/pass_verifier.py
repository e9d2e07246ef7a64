"""Translation validation: what a model computes before and after each pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from hqc.copies import copy_model
from hqc.dialect.facts import Facts
from hqc.dialect.integer_lif import NEURONS
from hqc.dialect.planes import unpack_planes
from hqc.errors import VerificationError
from hqc.passes.pass_base import Pass
from hqc.reference import run_reference
from hqc.verdict import FloatLayers, Verdict


class PassVerifier:
    """Runs the model before and after each pass in onnxruntime, on `feeds`, and compares.

    1. Between integer models, outputs and every tensor that keeps its name are equal in every bit,
       whatever their layouts.
    2. Between float models, what each layer of neurons takes in, and the outputs, may move by the
       pass's tolerance of the largest; neurons fire as they did before in both, since what rounding
       does to one spike changes all that follow.
    3. From floats to integers, the verdict decides.
    """

    def __init__(self, model: ir.Model, feeds: Mapping[str, np.ndarray]) -> None:
        self._feeds = feeds
        self._remember(model)

    def _remember(self, model: ir.Model) -> None:
        self._model, self._tensors = copy_model(model), self._run(model)

    def _run(self, model: ir.Model) -> dict[str, np.ndarray]:
        """The outputs and every tensor inside, by name."""
        outputs = [v.name for v in model.graph.outputs]
        inside = [v.name for n in model.graph for v in n.outputs if v.name not in (*outputs, "")]
        tensors = run_reference(model, self._feeds, inside)
        return dict(zip([*outputs, *inside], tensors, strict=True))

    def __call__(self, step: Pass, model: ir.Model) -> None:
        """Raise `VerificationError`, naming pass and tensor, where one has changed."""
        before, old = self._model, self._tensors
        self._remember(model)
        had, has = (_kinds(m) for m in (before, model))
        if had & has & set(NEURONS):
            self._compare_layers(step, before, model, old)
        elif had & set(NEURONS) and any(f"FixedPoint{name}" in has for name in NEURONS):
            self._explain(step, before, model)
        else:
            outputs = {v.name for v in model.graph.outputs}
            facts, old_facts = _facts(model), _facts(before)
            for name, new in self._tensors.items():
                if name in outputs:
                    _compare(step, f"output {name!r}", old[name], new)
                elif name in facts and name in old_facts:
                    pair = _rows(old[name], old_facts[name]), _rows(new, facts[name])
                    _compare(step, f"tensor {name!r}", *_common_channels(*pair))

    def _compare_layers(
        self, step: Pass, before: ir.Model, after: ir.Model, old: Mapping[str, np.ndarray]
    ) -> None:
        (frames,) = self._feeds.values()
        floats = [FloatLayers(m) for m in (before, after)]
        fired = {n.name: old[n.output] for n in floats[0].neurons}
        (a_outputs, a), (b_outputs, b) = (
            f.run(frames, [fired[n.name] for n in f.neurons]) for f in floats
        )
        taken = {n.name: x for n, x in zip(floats[0].neurons, a, strict=True)}
        for neurons, x in zip(floats[1].neurons, b, strict=True):
            expected = taken[neurons.name].reshape(x.shape)
            _compare(step, f"the input of layer {neurons.name!r}", expected, x)
        for value, expected, found in zip(after.graph.outputs, a_outputs, b_outputs, strict=True):
            _compare(step, f"output {value.name!r}", expected, found)

    def _explain(self, step: Pass, before: ir.Model, after: ir.Model) -> None:
        (frames,) = self._feeds.values()
        verdict = Verdict(before, after)
        spikes = [self._tensors[name] for name in verdict.watch]
        for wrong in verdict.explain(frames, self._tensors[after.graph.outputs[0].name], spikes):
            raise VerificationError(f"pass {step.name!r}: {wrong}")


def _facts(model: ir.Model) -> dict[str, Facts]:
    """The facts of every tensor that has a row of channels for each time step and position."""
    found = {v.name: Facts.of(v) for node in model.graph for v in node.outputs}
    return {name: facts for name, facts in found.items() if facts and _order(facts) is not None}


def _order(facts: Facts) -> list[int] | None:
    """The tensor's axes as T, Y, X, C, then those of size 1; None where an axis is split."""
    names = facts.axes.replace("planes words", "C").split(" ")
    order = ["T", "Y", "Y*X", "X", "C", "1"]
    if not set(names) <= set(order):
        return None
    return sorted(range(len(names)), key=lambda i: order.index(names[i]))


def _rows(tensor: np.ndarray, facts: Facts) -> np.ndarray:
    """A tensor in any layout as [time steps, positions, channels]."""
    if facts.axes.endswith("planes words"):
        tensor = unpack_planes(tensor, channels=32 * tensor.shape[-1])
    names = facts.axes.replace("planes words", "C").split(" ")
    time_steps, channels = (tensor.shape[names.index(n)] if n in names else 1 for n in ("T", "C"))
    return tensor.transpose(_order(facts)).reshape(time_steps, -1, channels)


def _common_channels(*rows: np.ndarray) -> list[np.ndarray]:
    """Without the spare channels of packed layouts."""
    channels = min(r.shape[-1] for r in rows)
    return [r[..., :channels] for r in rows]


def _kinds(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph}


def _compare(step: Pass, what: str, old: np.ndarray, new: np.ndarray) -> None:
    if old.shape != new.shape:
        raise VerificationError(
            f"pass {step.name!r} changes the shape of {what} from {list(old.shape)} to "
            f"{list(new.shape)}"
        )
    moved = float(np.max(np.abs(old.astype(np.float64) - new), initial=0))
    allowed = step.tolerance * float(np.max(np.abs(old), initial=0))
    if not moved <= allowed:
        raise VerificationError(
            f"pass {step.name!r} changes {what} by {moved:g} ({allowed:g} allowed)"
        )
