"""QSViT: each layer's bits after training, by what the layer's precision costs in accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import nn

from hqc.data.task import Task
from hqc.energy.groups import attention_part
from hqc.quantize.recipe import Choice
from hqc.search.method import Options, method
from hqc.search.plots import draw_sensitivity
from hqc.search.post_training import CHOICES, PostTraining, Trial, lowest
from hqc.search.run_folder import RunFolder

SENSITIVE = 0.05
"""A drop of accuracy above which a layer keeps more bits (the paper's 5 % rule)."""


def kind_of(name: str, layer: nn.Conv2d | nn.Linear, inside_repconv: bool = False) -> str:
    """The paper's kinds: sdsa (W_q, W_k, W_v), repconv, dwconv, pwconv, conv, linear."""
    if attention_part(name) in ("q", "k", "v"):
        return "sdsa"
    if inside_repconv:
        return "repconv"
    if isinstance(layer, nn.Linear):
        return "linear"
    if layer.groups > 1:
        return "dwconv"
    return "pwconv" if set(layer.kernel_size) == {1} else "conv"


def kinds_of(model: nn.Module, names: list[str]) -> dict[str, list[str]]:
    """The names of layers by kind."""
    modules = dict(model.named_modules())
    repconvs = [n for n, m in modules.items() if type(m).__name__ == "RepConv"]
    kinds: dict[str, list[str]] = {}
    for name in names:
        inside = any(name.startswith(f"{parent}.") for parent in repconvs)
        kinds.setdefault(kind_of(name, modules[name], inside), []).append(name)
    return kinds


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
    search = PostTraining(model, task, options, run)
    space, trial = search.space, search.trial

    sensitivity: dict[str, dict[Choice, float]] = {}
    for number, (name, choices) in enumerate(space.items(), 1):
        run.progress(f"sensitivity {number}/{len(space)}: {name}")
        drops = search.candidates.drops([{name: choice} for choice in choices])
        sensitivity[name] = dict(zip(choices, drops, strict=True))

    kinds = kinds_of(model, search.free)
    base = {}
    for kind, names in kinds.items():
        run.progress(f"base setting of {kind}")
        base[kind] = lowest(space[names[0]], partial(_are_harmless, trial, names))

    recipe = {name: choices[0] for name, choices in space.items()}
    for kind, names in kinds.items():
        for name in names:
            above = space[name][: space[name].index(base[kind]) + 1]
            alone = sensitivity[name]
            recipe[name] = lowest(above, partial(_is_harmless, alone))
    while trial.drop(recipe) > SENSITIVE:
        movable = [n for n in recipe if space[n].index(recipe[n]) > 0]
        if not movable:
            break
        worst = max(movable, key=lambda n: sensitivity[n][recipe[n]])
        recipe[worst] = space[worst][space[worst].index(recipe[worst]) - 1]
        run.progress(f"{worst} keeps {recipe[worst]}")
    run.draw("sensitivity.svg", draw_sensitivity, sensitivity)
    return search.finish(recipe, sensitivity=sensitivity, base=base)


def _are_harmless(trial: Trial, names: list[str], choice: Choice) -> bool:
    return trial.drop(dict.fromkeys(names, choice)) <= SENSITIVE


def _is_harmless(drops: Mapping[Choice, float], choice: Choice) -> bool:
    return drops[choice] <= SENSITIVE
