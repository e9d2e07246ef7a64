"""What each layer may choose among."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

from hqc.errors import UserError
from hqc.post_training.network import Choice, bits_of

_UNIFORM = re.compile(r"([2-9]|1[0-6])u")

Space = dict[str, list[Choice]]
"""The choices of every layer by name."""


def space_of(names: Iterable[str], choices: Sequence[Choice], keep: Mapping[str, Choice]) -> Space:
    """The choices of every layer; one alone where a glob of `keep` fixes it. Raises `UserError`."""
    names = list(names)
    for pattern in keep:
        if not fnmatch.filter(names, pattern):
            raise UserError(
                f"--keep {pattern!r} matches no layer", hint=f"layers are: {', '.join(names)}"
            )
    space = {}
    for name in names:
        kept = [c for pattern, c in keep.items() if fnmatch.fnmatchcase(name, pattern)]
        space[name] = kept[:1] or list(choices)
    return space


def uniform_space(
    names: Iterable[str], choices: Sequence[Choice], keep: Mapping[str, Choice]
) -> Space:
    """The same, from high precision to low, where all choices are uniform. Raises `UserError`."""
    for choice in dict.fromkeys((*choices, *keep.values())):
        if not choice.endswith("u"):
            raise UserError(
                f"{choice!r} is not uniform, and rounding after training is",
                hint="choose among bits with u, e.g. --choices 16u,12u,8u,4u",
            )
        if not _UNIFORM.fullmatch(choice):
            raise UserError(f"unknown quantizer {choice!r}", hint="write 2u to 16u")
    found = space_of(names, choices, keep)
    return {n: sorted(dict.fromkeys(c), key=bits_of, reverse=True) for n, c in found.items()}
