"""What a compiled model takes of a machine's flash and RAM, and whether it fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hqc.errors import UserError
from hqc.targets import Target


@dataclass(frozen=True)
class Need:
    """Bytes of one kind of memory, by what they are for, and what is largest among them."""

    kind: str
    parts: dict[str, int]
    largest: str

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size:,}" for name, size in self.parts.items())
        return f"{self.total:,} bytes: {parts}"


def flash_need(manifest: dict) -> Need:
    """Code and constants of a manifest's library."""
    memory = manifest["memory"]
    constants = memory["constant_bytes"]
    parts = {
        "code": memory["code_bytes"],
        "weights": memory["weight_bytes"],
        "thresholds and tables": constants - memory["weight_bytes"],
    }
    layer = max(manifest["layers"], key=lambda layer: layer["weight_bytes"], default=None)
    largest = f"{layer['name']}, {layer['weight_bytes']:,} bytes of weights" if layer else "code"
    return Need("flash", parts, largest)


def ram_need(manifest: dict) -> Need:
    """Arena of whole runs, input and stack of a manifest's library; the input as bytes if it may.

    The largest are the areas in use at once when most is.
    """
    memory, given = manifest["memory"], manifest["input"]
    parts = {
        "arena": memory["arena_bytes"],
        "input": math.prod(given["shape"]) * (1 if given["codes"] else 4),
        "stack": memory["stack_bytes"],
    }
    areas = manifest["areas"]["run"]
    calls = range(len(manifest["kernels"]))
    alive = {c: [a for a in areas if a["first"] <= c <= a["last"]] for c in calls}
    fullest = max(alive.values(), key=lambda group: sum(a["bytes"] for a in group))
    first = max(fullest, key=lambda a: a["bytes"])
    name = first["name"].removesuffix(":out")
    return Need("RAM", parts, f"{name}, {first['bytes']:,} bytes of {first['kind']}")


def check_fits(manifest: dict, target: Target) -> None:
    """Raise `UserError` for a library that the target's flash or RAM does not hold."""
    for need, room in ((flash_need(manifest), target.flash), (ram_need(manifest), target.ram)):
        if room and need.total > room:
            raise UserError(
                f"{manifest['name']} takes more {need.kind} than the {room:,} bytes of target "
                f"{target.name}: {need}; the largest is {need.largest}",
                hint="train it with fewer bits, or smaller; or say how much your board has, in a "
                f"target that extends {target.name}: {need.kind.lower()} "
                f"{-(-need.total // 1024)} KiB",
            )
