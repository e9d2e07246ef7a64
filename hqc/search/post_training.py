"""Searches after training, of a torch module: it is trained in float, and then only rounded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hqc.data.task import Labelled, Task
from hqc.energy.count_module import is_neuron
from hqc.models.lif import integrate
from hqc.post_training.kinds import kind_of
from hqc.post_training.method import Choose, methods
from hqc.post_training.network import Candidate, Choice, Layer, Network
from hqc.post_training.rounding import range_scale
from hqc.post_training.search import Search
from hqc.post_training.space import uniform_space
from hqc.quantize.recipe import quantizable_layers, quantizer
from hqc.search.candidates import Candidates
from hqc.search.method import Options, method
from hqc.search.plots import draw_sensitivity, draw_weights
from hqc.search.result import counted_frames, describe, weights_of
from hqc.search.results import RECIPE, RESULT
from hqc.search.run_folder import RunFolder
from hqc.search.training import FLOAT_RATE, accuracy, fit, split

_NEURON = ("tau", "v_threshold", "v_reset", "decay_input")


def ranged_quantizer(choice: Choice, weight: Tensor) -> nn.Module:
    """A uniform quantizer of a recipe's notation, its scale from the weights' range (QSViT)."""
    module = quantizer(choice, weight)
    with torch.no_grad():
        module.scale.fill_(float(range_scale(weight.cpu().numpy(), module.bits)))
    return module


def kinds_of(model: nn.Module) -> dict[str, str]:
    """The kind of every quantizable layer, by name."""
    repconvs = [n for n, m in model.named_modules() if type(m).__name__ == "RepConv"]
    return {
        name: kind_of(
            name,
            linear=isinstance(layer, nn.Linear),
            groups=getattr(layer, "groups", 1),
            window=getattr(layer, "kernel_size", ()),
            repconv=any(name.startswith(f"{parent}.") for parent in repconvs),
        )
        for name, layer in quantizable_layers(model).items()
    }


class Trial:
    """A trained model whose weights are rounded for a while.

    `drop` costs a run of all of `data`, `drift` one of the few recordings `frames` [T, N, ...].
    """

    def __init__(self, model: nn.Module, data: Labelled, frames: Tensor) -> None:
        self._model, self._data, self._frames = model, data, frames
        self.layers = quantizable_layers(model)
        self.weights = {n: layer.weight.detach().clone() for n, layer in self.layers.items()}
        self.float_accuracy = accuracy(model, data)
        self._potentials = self._run()

    def drop(self, choices: Candidate) -> float:
        """Accuracy lost with the given layers rounded and all others in float."""
        return self._rounded(
            choices, lambda: self.float_accuracy - accuracy(self._model, self._data)
        )

    def drift(self, choices: Candidate) -> float:
        """How far membrane potentials move, relative to their size, in the mean over layers."""
        moved = self._rounded(choices, self._run)
        shares = [
            (after - before).abs().mean() / before.abs().mean().clamp(min=1e-8)
            for before, after in zip(self._potentials, moved, strict=True)
        ]
        return float(torch.stack(shares).mean())

    @torch.no_grad()
    def _rounded(self, choices: Candidate, measure: Callable):
        for name, choice in choices.items():
            weight = self.weights[name]
            self.layers[name].weight.copy_(ranged_quantizer(choice, weight).eval()(weight))
        try:
            return measure()
        finally:
            for name in choices:
                self.layers[name].weight.copy_(self.weights[name])

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


class TorchNetwork(Network):
    """A torch module that was trained in float.

    Candidates are measured on a fifth of the training recordings, in several processes where
    options ask for that; the result is that on the test split.
    """

    def __init__(self, model: nn.Module, task: Task, options: Options, run: RunFolder) -> None:
        fit(model, task, run, "float", options.float_epochs, FLOAT_RATE, options, options.seed)
        if options.workers > 1 or options.ray:
            model.cpu()  # forked processes cannot go on with a GPU
        self._model, self._task, self._options, self._run = model, task, options, run
        self._float_model = copy.deepcopy(model)
        run.progress("measure the float network")
        self.trial = Trial(model, split(task.train, options.seed)[1], counted_frames(task, model))
        self._candidates = Candidates(self.trial, options.workers, options.ray)
        weights = self.trial.weights
        self.layers = {
            name: Layer(name, kind, weights[name].cpu().numpy())
            for name, kind in kinds_of(model).items()
        }

    def drop(self, choices: Candidate) -> float:
        """Accuracy lost on a fifth of the training recordings."""
        return self.trial.drop(choices)

    def drift(self, choices: Candidate) -> float:
        """How far membrane potentials move on a few recordings."""
        return self.trial.drift(choices)

    def drops(self, candidates: Sequence[Candidate]) -> Iterator[float]:
        """The drop of each candidate, several at a time."""
        return self._candidates.drops(candidates)

    def drifts(self, candidates: Sequence[Candidate]) -> Iterator[float]:
        """The drift of each candidate, several at a time."""
        return self._candidates.drifts(candidates)

    def finish(self, recipe: dict[str, Choice], **found: object) -> dict:
        """Round the weights for good; write recipe, weights and result; return the result."""
        self._candidates.close()
        layers = quantizable_layers(self._model)
        for name, choice in recipe.items():
            module = ranged_quantizer(choice, layers[name].weight.detach())
            parametrize.register_parametrization(layers[name], "weight", module)
        before, after = weights_of(self._float_model), weights_of(self._model)
        self._run.draw("weights.svg", draw_weights, before, after, recipe)
        if "sensitivity" in found:
            self._run.draw("sensitivity.svg", draw_sensitivity, found["sensitivity"])
        self._run.write_json(RECIPE, recipe)
        self._run.save("train", self._model.state_dict())
        result = describe(self._model, self._float_model, recipe, self._task, self._options)
        result |= found
        self._run.write_json(RESULT, result)
        return result


def train_and_round(
    choose: Choose, model: nn.Module, task: Task, options: Options, run: RunFolder
) -> dict:
    """Train in float, let a method choose each layer's bits, and round."""
    space = uniform_space(quantizable_layers(model), options.choices, options.keep)
    network = TorchNetwork(model, task, options, run)
    search = Search(
        network, space, tolerance=options.tolerance, beam=options.beam, progress=run.progress
    )
    found = choose(search)
    return network.finish(found.recipe, **found.about)


for _name, _method in methods().items():
    method(_name, _method.choices)(partial(train_and_round, _method.choose))
