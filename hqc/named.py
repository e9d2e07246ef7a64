"""Things that are found by the name that they are registered under."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from hqc.errors import UserError

T = TypeVar("T")


def named(what: str, name: str, known: Mapping[str, T], all_of_them: str) -> T:
    """The thing of that name. Raises `UserError`, suggesting the nearest of those there are.

    Messages call one `what`, and `all_of_them` all.
    """
    if name in known:
        return known[name]
    raise UserError(
        f"there is no {what} {name!r}{nearest(name, known)}",
        hint=f"{all_of_them} are: {', '.join(sorted(known))}",
    )


def nearest(name: str, known: Mapping[str, object]) -> str:
    """The end of a message that suggests a name like another."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
