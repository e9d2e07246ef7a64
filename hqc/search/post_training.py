"""Searches after training: weights are rounded for a while, to see what that costs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hqc.data.task import Labelled, Task
from hqc.energy.count_module import is_neuron
from hqc.errors import UserError
from hqc.models.lif import integrate
from hqc.quantize.recipe import Choice, quantizable_layers, quantizer
from hqc.search.candidates import Candidates
from hqc.search.method import Options, search_space
from hqc.search.plots import draw_weights, weights_of
from hqc.search.result import counted_frames, describe
from hqc.search.results import RECIPE, RESULT
from hqc.search.run_folder import RunFolder
from hqc.search.training import FLOAT_RATE, accuracy, fit, split

_NEURON = ("tau", "v_threshold", "v_reset", "decay_input")

CHOICES = ("16u", "12u", "8u", "4u")


def range_scale(weight: Tensor, bits: int) -> Tensor:
    """S = w_range / q_range, with Qmax = 2^(b-1) - 1 and Qmin = -2^(b-1); one for the layer.

    The range is symmetric, twice the largest |w|, as the codes have no zero point: with max - min a
    weight that is alone on its side would be clipped, at any precision.
    """
    return (2 * weight.abs().max() / (2**bits - 1)).clamp(min=1e-8)


def ranged_quantizer(choice: Choice, weight: Tensor) -> nn.Module:
    """A uniform quantizer of a recipe's notation, its scale from the weights' range (QSViT)."""
    module = quantizer(choice, weight)
    with torch.no_grad():
        module.scale.fill_(range_scale(weight, module.bits))
    return module


def lowest(choices: list[Choice], is_harmless: Callable[[Choice], bool]) -> Choice:
    """The last of choices, from high precision to low, that is harmless as are all before it."""
    found = choices[0]
    for choice in choices:
        if not is_harmless(choice):
            break
        found = choice
    return found


class Trial:
    """A trained model whose weights are rounded for a while.

    `drop` costs a run of all of `data`, `drift` one of the few recordings `frames` [T, N, ...].
    """

    def __init__(self, model: nn.Module, data: Labelled, frames: Tensor) -> None:
        self._model, self._data, self._frames = model, data, frames
        self.layers = quantizable_layers(model)
        self._weights = {n: layer.weight.detach().clone() for n, layer in self.layers.items()}
        self.float_accuracy = accuracy(model, data)
        self._potentials = self._run()

    def drop(self, choices: Mapping[str, Choice]) -> float:
        """Accuracy lost with the given layers rounded and all others in float."""
        return self._rounded(
            choices, lambda: self.float_accuracy - accuracy(self._model, self._data)
        )

    def drift(self, choices: Mapping[str, Choice]) -> float:
        """How far membrane potentials move, relative to their size, in the mean over layers."""
        moved = self._rounded(choices, self._run)
        shares = [
            (after - before).abs().mean() / before.abs().mean().clamp(min=1e-8)
            for before, after in zip(self._potentials, moved, strict=True)
        ]
        return float(torch.stack(shares).mean())

    @torch.no_grad()
    def _rounded(self, choices: Mapping[str, Choice], measure: Callable):
        for name, choice in choices.items():
            weight = self._weights[name]
            self.layers[name].weight.copy_(ranged_quantizer(choice, weight).eval()(weight))
        try:
            return measure()
        finally:
            for name in choices:
                self.layers[name].weight.copy_(self._weights[name])

    @torch.no_grad()
    def _run(self) -> list[Tensor]:
        """The membrane potentials of every layer of neurons, in the order that they are read."""
        found: list[Tensor] = []

        def keep(node: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
            parameters = (getattr(node, name) for name in _NEURON)
            found.append(integrate(inputs[0], *parameters)[0])

        neurons = [m for m in self._model.modules() if is_neuron(m) and hasattr(m, "tau")]
        hooks = [m.register_forward_hook(keep) for m in neurons]
        try:
            self._model.eval()(self._frames)
        finally:
            for hook in hooks:
                hook.remove()
        return found


class PostTraining:
    """A search that trains in float and then only rounds.

    `space` holds each layer's choices from high precision to low, `free` the layers that have more
    than one, `trial` measures on a fifth of the training recordings, `candidates` does so for many.
    """

    def __init__(self, model: nn.Module, task: Task, options: Options, run: RunFolder) -> None:
        space = search_space(model, options)
        for choice in dict.fromkeys(c for choices in space.values() for c in choices):
            if not choice.endswith("u"):
                raise UserError(
                    f"{choice!r} is not uniform, and rounding after training is",
                    hint="choose among bits with u, e.g. --choices 16u,12u,8u,4u",
                )
        fit(model, task, run, "float", options.float_epochs, FLOAT_RATE, options, options.seed)
        if options.workers > 1 or options.ray:
            model.cpu()  # forked processes cannot go on with a GPU
        self._model, self._task, self._options, self._run = model, task, options, run
        self._float_model = copy.deepcopy(model)
        self.space = {n: sorted(c, key=lambda c: -int(c[:-1])) for n, c in space.items()}
        self.free = [name for name, choices in self.space.items() if len(choices) > 1]
        run.progress("measure the float network")
        self.trial = Trial(model, split(task.train, options.seed)[1], counted_frames(task, model))
        self.candidates = Candidates(self.trial, options.workers, options.ray)

    def weights(self, name: str) -> int:
        """How many weights a layer has."""
        return self.trial.layers[name].weight.numel()

    def bits(self, recipe: Mapping[str, Choice]) -> int:
        """Bits that all weights of a recipe's layers take."""
        return sum(int(c[:-1]) * self.weights(n) for n, c in recipe.items())

    def finish(self, recipe: dict[str, Choice], **found: object) -> dict:
        """Round the weights for good; write recipe, weights and result; return the result."""
        self.candidates.close()
        for name, choice in recipe.items():
            layer = self.trial.layers[name]
            module = ranged_quantizer(choice, layer.weight.detach())
            parametrize.register_parametrization(layer, "weight", module)
        before, after = weights_of(self._float_model), weights_of(self._model)
        self._run.draw("weights.svg", draw_weights, before, after, recipe)
        self._run.write_json(RECIPE, recipe)
        self._run.save("train", self._model.state_dict())
        result = describe(self._model, self._float_model, recipe, self._task, self._options)
        result |= found
        self._run.write_json(RESULT, result)
        return result
