"""QSViT: each layer's bits after training, by what the layer's precision costs in accuracy."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hqc.data.task import Labelled, Task
from hqc.energy.groups import attention_part
from hqc.errors import UserError
from hqc.quantize.recipe import Choice, quantizable_layers, quantizer
from hqc.search.method import Options, method, search_space
from hqc.search.result import describe
from hqc.search.run_folder import RECIPE, RESULT, RunFolder
from hqc.search.training import FLOAT_RATE, accuracy, fit, split

CHOICES = ("16u", "12u", "8u", "4u")
SENSITIVE = 0.05
"""A drop of accuracy above which a layer keeps more bits (the paper's 5 % rule)."""


def range_scale(weight: Tensor, bits: int) -> Tensor:
    """S = w_range / q_range, with Qmax = 2^(b-1) - 1 and Qmin = -2^(b-1); one for the layer."""
    return ((weight.max() - weight.min()) / (2**bits - 1)).clamp(min=1e-8)


def ranged_quantizer(choice: Choice, weight: Tensor) -> nn.Module:
    """A uniform quantizer of a recipe's notation, its scale from the weights' range."""
    module = quantizer(choice, weight.shape[0])
    with torch.no_grad():
        module.scale.fill_(range_scale(weight, module.bits))
    return module


def kind_of(name: str, layer: nn.Conv2d | nn.Linear) -> str:
    """The paper's kinds: sdsa (W_q, W_k, W_v), dwconv, pwconv, conv, linear."""
    if attention_part(name) in ("q", "k", "v"):
        return "sdsa"
    if isinstance(layer, nn.Linear):
        return "linear"
    if layer.groups > 1:
        return "dwconv"
    return "pwconv" if set(layer.kernel_size) == {1} else "conv"


class Trial:
    """A trained model whose weights are rounded for a while, to see what that costs."""

    def __init__(self, model: nn.Module, data: Labelled) -> None:
        self._model, self._data = model, data
        self.layers = quantizable_layers(model)
        self._weights = {n: layer.weight.detach().clone() for n, layer in self.layers.items()}
        self.float_accuracy = accuracy(model, data)

    @torch.no_grad()
    def drop(self, choices: Mapping[str, Choice]) -> float:
        """Accuracy lost with the given layers rounded and all others in float."""
        for name, choice in choices.items():
            weight = self._weights[name]
            self.layers[name].weight.copy_(ranged_quantizer(choice, weight).eval()(weight))
        lost = self.float_accuracy - accuracy(self._model, self._data)
        for name in choices:
            self.layers[name].weight.copy_(self._weights[name])
        return lost


@method("qsvit", CHOICES)
def qsvit(model: nn.Module, task: Task, options: Options, run: RunFolder) -> dict:
    """Train in float, then round, without training again; the paper's four steps.

    1. Investigation: the accuracy that each layer alone loses at each precision.
    2. Base settings: for each kind of layer the lowest precision at which all layers of the kind
       together lose no more than `SENSITIVE`.
    3. Guided strategy: every layer takes its kind's base, or the next precision above at which it
       alone is not sensitive; while the whole network loses more than `SENSITIVE`, the layer that
       loses most moves up by one.
    4. The network, with these quantizers.

    Accuracy is that on a fifth of the training recordings. The text of the paper does not say on
    what data sensitivity is measured, nor what happens where layers that are harmless alone are
    not so together; the fifth and the second half of step 3 are ours.
    """
    space = search_space(model, options)
    for choice in dict.fromkeys(c for choices in space.values() for c in choices):
        if not choice.endswith("u"):
            raise UserError(
                f"QSViT rounds uniformly; it has no {choice!r}",
                hint="choose among bits with u, e.g. --choices 16u,12u,8u,4u",
            )
    fit(model, task, run, "float", options.float_epochs, FLOAT_RATE, options, options.seed)
    float_model = copy.deepcopy(model)
    _, validation = split(task.train, options.seed)
    trial = Trial(model, validation)
    space = {n: sorted(c, key=lambda choice: -int(choice[:-1])) for n, c in space.items()}

    sensitivity: dict[str, dict[Choice, float]] = {}
    for number, (name, choices) in enumerate(space.items(), 1):
        run.progress(f"sensitivity {number}/{len(space)}: {name}")
        sensitivity[name] = {choice: trial.drop({name: choice}) for choice in choices}

    kinds: dict[str, list[str]] = {}
    for name, layer in trial.layers.items():
        if len(space[name]) > 1:
            kinds.setdefault(kind_of(name, layer), []).append(name)
    base = {}
    for kind, names in kinds.items():
        run.progress(f"base setting of {kind}")
        base[kind] = _lowest(
            space[names[0]], lambda c, names=names: trial.drop(dict.fromkeys(names, c))
        )

    recipe = {}
    for name, layer in trial.layers.items():
        choices = space[name]
        if len(choices) == 1:
            recipe[name] = choices[0]
            continue
        start = choices.index(base[kind_of(name, layer)])
        above = choices[: start + 1]
        recipe[name] = _lowest(above, lambda c, name=name: sensitivity[name][c])
    while trial.drop(recipe) > SENSITIVE:
        movable = [n for n in recipe if space[n].index(recipe[n]) > 0]
        if not movable:
            break
        worst = max(movable, key=lambda n: sensitivity[n][recipe[n]])
        recipe[worst] = space[worst][space[worst].index(recipe[worst]) - 1]
        run.progress(f"{worst} keeps {recipe[worst]}")

    for name, choice in recipe.items():
        weight = trial.layers[name].weight
        module = ranged_quantizer(choice, weight.detach())
        parametrize.register_parametrization(trial.layers[name], "weight", module)
    run.write_json(RECIPE, recipe)
    run.save("train", model.state_dict())
    result = describe(model, float_model, recipe, task, options)
    result |= {"sensitivity": sensitivity, "base": base}
    run.write_json(RESULT, result)
    return result


def _lowest(choices: list[Choice], drop) -> Choice:
    """The last of choices, from high precision to low, with no drop above `SENSITIVE` before it."""
    found = choices[0]
    for choice in choices:
        if drop(choice) > SENSITIVE:
            break
        found = choice
    return found
