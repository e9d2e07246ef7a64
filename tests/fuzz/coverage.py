"""Which ops and attributes drawn networks have, and how many of those compile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx

from tests.fuzz.networks import Network

_NUMBERS = {"alpha", "beta", "epsilon", "tau", "v_reset", "v_threshold"}
"""Attributes that may have any value: which they are of is what counts."""


class Coverage:
    """Counts of networks, of all and of those that are right, by what is in them."""

    def __init__(self) -> None:
        self._drawn: Counter[str] = Counter()
        self._right: Counter[str] = Counter()

    def add(self, network: Network, verdict: str) -> None:
        """Count a network and its verdict."""
        found = {f for node in network.proto.graph.node for f in features(node)}
        self._drawn.update(found)
        if verdict == "right":
            self._right.update(found)

    def __str__(self) -> str:
        lines = [f"{'':48} networks   right"]
        lines += [f"{f:48} {n:8} {self._right[f]:7}" for f, n in sorted(self._drawn.items())]
        return "\n".join(lines)


def features(node: onnx.NodeProto) -> Iterator[str]:
    """The node's op, how many inputs it has, and its attributes."""
    yield node.op_type
    if node.op_type in ("Conv", "Gemm"):
        yield f"{node.op_type} with bias" if len(node.input) > 2 else f"{node.op_type} without bias"
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            continue
        if attribute.name in _NUMBERS and attribute.name != "tau":
            value = "negative" if value < 0 else "0" if value == 0 else "1" if value == 1 else "any"
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, list):
            value = "asymmetric" if len(set(value)) > 1 else value[0]
        if isinstance(value, float):
            value = f"{value:.3g}"
        yield f"{node.op_type} {attribute.name}={value}"
