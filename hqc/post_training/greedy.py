"""Greedy search after training: one layer at a time to fewer bits, the cheapest first."""

from __future__ import annotations

from hqc.post_training.method import method
from hqc.post_training.search import Found, Search


@method("greedy", "16u", "12u", "8u", "4u")
def greedy(search: Search) -> Found:
    """Lower precisions step by step while accuracy lasts.

    From every layer's highest precision, the step tried next is the one whose membrane potentials
    drift least for each bit saved (measured for the layer alone, on a few recordings). It is kept
    if the network then loses no more than the tolerance; if not, the layer stays as it is.
    """
    space, bits = search.space, search.network.bits
    recipe = {name: choices[0] for name, choices in space.items()}
    alone = [(name, choice) for name in search.free for choice in space[name]]
    search.expect(drops=len(alone) - len(search.free), drifts=len(alone))
    search.say("drift of each layer alone")
    found = search.drifts([dict([pair]) for pair in alone])
    drifts = dict(zip(alone, found, strict=True))

    def cost(name: str) -> float:
        """Drift for each bit that the layer's next step saves."""
        before, after = recipe[name], following[name]
        saved = bits({name: before}) - bits({name: after})
        return (drifts[name, after] - drifts[name, before]) / saved

    following = {name: space[name][1] for name in search.free}
    while following:
        search.expect(drops=sum(len(space[n]) - space[n].index(c) for n, c in following.items()))
        name = min(following, key=cost)
        choice = following.pop(name)
        drop = search.drop({**recipe, name: choice})
        search.say(f"{name} at {choice} loses {drop:.3f}")
        if drop > search.tolerance:
            continue
        recipe[name] = choice
        if rest := space[name][space[name].index(choice) + 1 :]:
            following[name] = rest[0]
    return Found(recipe)
