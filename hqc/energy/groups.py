"""Which part of a spiking transformer a layer belongs to, by its name."""

from __future__ import annotations

import re

_ATTENTION = {"attention", "attn", "ssa", "sdsa"}
_MLP = {"mlp", "ffn", "fc1", "fc2"}
_HEAD = {"head", "classifier", "fc"}
_PARTS = {"q": "q", "k": "k", "v": "v", "p": "output", "o": "output"}

GROUPS = ("tokenizer", "attention", "mlp", "head")


def group_of(name: str) -> str:
    """One of `GROUPS`; what is neither attention, MLP nor head makes the tokens."""
    words = set(re.split(r"[./_]", name.lower()))
    for group, known in (("attention", _ATTENTION), ("mlp", _MLP), ("head", _HEAD)):
        if words & known:
            return group
    return "tokenizer"


def attention_part(name: str) -> str | None:
    """q, k, v, output (the projection) or product, for a layer of an attention; else None."""
    words = re.split(r"[./_]", name.lower())
    inside = [i for i, word in enumerate(words) if word in _ATTENTION]
    if not inside:
        return None
    rest = words[inside[-1] + 1 :]
    if not rest or rest[0].startswith("matmul"):
        return "product"
    return _PARTS.get(rest[0][:1], "product")
