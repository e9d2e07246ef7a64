"""One precision for every layer: what searches are compared with."""

from __future__ import annotations

from hqc.post_training.method import method
from hqc.post_training.search import Found, Search


@method("uniform", "8u")
def uniform(search: Search) -> Found:
    """Round every layer to the highest precision of its choices."""
    return Found({name: choices[0] for name, choices in search.space.items()})
