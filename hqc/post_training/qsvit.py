"""QSViT: each layer's bits after training, by what the layer's precision costs in accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from hqc.post_training.method import method
from hqc.post_training.network import Choice
from hqc.post_training.search import Found, Search

SENSITIVE = 0.05
"""A drop of accuracy above which a layer keeps more bits (the paper's 5 % rule)."""


def lowest(choices: list[Choice], is_harmless: Callable[[Choice], bool]) -> Choice:
    """The last of choices, from high precision to low, that is harmless as are all before it."""
    found = choices[0]
    for choice in choices:
        if not is_harmless(choice):
            break
        found = choice
    return found


@method("qsvit", "16u", "12u", "8u", "4u")
def qsvit(search: Search) -> Found:
    """Round without training again; the paper's four steps.

    1. Investigation: the accuracy that each layer alone loses at each precision.
    2. Base settings: for each kind of layer the lowest precision at which all layers of the kind
       together lose no more than `SENSITIVE`.
    3. Guided strategy: every layer takes its kind's base, or the next precision above at which it
       alone is not sensitive; while the whole network loses more than `SENSITIVE`, the layer that
       loses most moves up by one.
    4. The network, with these quantizers.

    The text of the paper does not say on what data sensitivity is measured, nor what happens where
    layers that are harmless alone are not so together; the second half of step 3 is ours.
    """
    space = search.space
    kinds: dict[str, list[str]] = {}
    for name in search.free:
        kinds.setdefault(search.network.layers[name].kind, []).append(name)
    of_kinds = sum(len(space[names[0]]) for names in kinds.values()) + 1
    alone = sum(map(len, space.values()))

    sensitivity: dict[str, dict[Choice, float]] = {}
    for number, (name, choices) in enumerate(space.items(), 1):
        search.expect(drops=alone + of_kinds)
        search.say(f"sensitivity {number}/{len(space)}: {name}")
        drops = search.drops([{name: choice} for choice in choices])
        sensitivity[name] = dict(zip(choices, drops, strict=True))
        alone -= len(choices)

    base = {}
    for kind, names in kinds.items():
        search.expect(drops=of_kinds)
        search.say(f"base setting of {kind}")
        base[kind] = lowest(space[names[0]], partial(_are_harmless, search, names))
        of_kinds -= len(space[names[0]])

    recipe = {name: choices[0] for name, choices in space.items()}
    for kind, names in kinds.items():
        for name in names:
            above = space[name][: space[name].index(base[kind]) + 1]
            recipe[name] = lowest(above, partial(_is_harmless, sensitivity[name]))
    while search.drop(recipe) > SENSITIVE:
        movable = [n for n in recipe if space[n].index(recipe[n]) > 0]
        if not movable:
            break
        worst = max(movable, key=lambda n: sensitivity[n][recipe[n]])
        recipe[worst] = space[worst][space[worst].index(recipe[worst]) - 1]
        search.say(f"{worst} keeps {recipe[worst]}")
    return Found(recipe, {"sensitivity": sensitivity, "base": base})


def _are_harmless(search: Search, names: list[str], choice: Choice) -> bool:
    return search.drop(dict.fromkeys(names, choice)) <= SENSITIVE


def _is_harmless(drops: Mapping[Choice, float], choice: Choice) -> bool:
    return drops[choice] <= SENSITIVE
