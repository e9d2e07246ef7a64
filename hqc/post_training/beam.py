"""Beam search after training: several assignments at once, layer by layer."""

from __future__ import annotations

from hqc.post_training.method import method
from hqc.post_training.search import Found, Search

_PASSED = 2
"""Assignments, as multiples of the beam's width, whose accuracy is measured in each layer."""


@method("beam", "16u", "12u", "8u", "4u")
def beam(search: Search) -> Found:
    """Keep the `search.beam` best assignments while layers, the largest first, get their bits.

    Layers not reached yet are at their highest precision. A gate that costs a few recordings, the
    drift of membrane potentials for all bits left, passes on the most promising assignments; of
    those whose accuracy, then measured, drops by no more than the tolerance, the ones with the
    fewest bits go on.
    """
    space, network = search.space, search.network
    kept = [{name: choices[0] for name, choices in space.items()}]
    layers = sorted(search.free, key=lambda name: network.layers[name].weights.size, reverse=True)
    for number, name in enumerate(layers, 1):
        widest = [search.beam * len(space[n]) for n in layers[number - 1 :]]
        passed = [min(_PASSED * search.beam, width) for width in widest]
        search.expect(drops=sum(passed), drifts=sum(widest))
        extended = [{**recipe, name: choice} for recipe in kept for choice in space[name]]
        drifts = search.drifts(extended)
        costs = [network.bits(r) * (1 + d) for r, d in zip(extended, drifts, strict=True)]
        gated = [extended[i] for i in sorted(range(len(extended)), key=costs.__getitem__)]
        measured = gated[: _PASSED * search.beam]
        drops = search.drops(measured)
        unharmed = [r for r, d in zip(measured, drops, strict=True) if d <= search.tolerance]
        kept = sorted(unharmed or kept, key=network.bits)[: search.beam]
        search.say(f"layer {number}/{len(layers)}: {name}, {network.bits(kept[0])} bits")
    return Found(kept[0])
