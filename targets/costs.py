"""What the parts of kernels that add weights of spikes take on a machine, in one unit for all."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Costs:
    """The parts, each once, and what they take on a machine of which nothing is known.

    Vectors are the target's; without vectors two outputs count as one of bytes, and one output as
    one of 32-bit lanes. Codes are taken as the fields that they are stored in: of 2, 4 or 8 bits,
    where shifts of more than 2 bits, and codes of more than 8, are those of 8.
    """

    word: float = 0.0
    spike: float = 5.0
    eventsum: float = 0.0
    fieldsum: float = 0.0
    event2: float = 2.0
    event4: float = 2.0
    event8: float = 3.2
    fields2: float = 1.6
    fields4: float = 1.4
    fields8: float = 4.5
    odd: float = 0.0
    odd2: float = 0.8
    odd4: float = 0.7
    far: float = 2.0
    unpack: float = 4.0
    plane: float = 5.0
    dot: float = 2.1


MEANINGS = {
    "word": "Look for spikes in a word of inputs of a row of a position's window.",
    "spike": "Find a spike and its row of weights.",
    "eventsum": "Begin and end a vector of bytes of a position's sums, by events.",
    "fieldsum": "The same, by fields.",
    "event2": "Add a vector of unpacked bytes, of codes of 2 bits.",
    "event4": "The same, of codes of 4 bits.",
    "event8": "The same, of codes of 8 bits, in lanes of 16.",
    "fields2": "Add a vector's outputs of fields as they are stored, of 2 bits.",
    "fields4": "The same, of 4 bits.",
    "fields8": "The same, of 8 bits.",
    "odd": "What adding a vector takes more, by events, where outputs are no multiple of 128.",
    "odd2": "The same, of fields of 2 bits.",
    "odd4": "The same, of fields of 4 bits.",
    "far": "Bring a vector of bytes of weights from beyond the first cache, in a layer with more "
    "than that holds.",
    "unpack": "Unpack a vector of codes to bytes, once a call.",
    "plane": "AND a vector of 32-bit lanes, count its bits and add them, for one bit of codes.",
    "dot": "Add the products of a vector of bytes by another, four to a 32-bit lane.",
}
"""What each part is; `targets/hqt.lark` says how a target file gives them."""

PARTS = tuple(field.name for field in fields(Costs))
"""The names of all parts."""
