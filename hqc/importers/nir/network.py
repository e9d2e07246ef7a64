"""A graph without graphs inside it, its nodes in an order in which each can be computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from hqc.errors import UnsupportedModelError, UserError
from hqc.importers.nir.builder import Builder, Tensor
from hqc.importers.nir.file import Graph


@dataclass(frozen=True)
class Node:
    """A node of the package `nir`, and the names of those that lead to it."""

    path: Path
    name: str
    said: Any
    sources: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Its type."""
        return type(self.said).__name__

    def refused(self, why: str, hint: str | None = None) -> UnsupportedModelError:
        """The error for a node that does not become a part of the model."""
        where = f"{self.path}: node {self.name!r} ({self.kind})"
        return UnsupportedModelError(f"{where}: {why}", hint)

    def array(self, field: str) -> np.ndarray:
        """A field's numbers, all of them finite."""
        found = np.asarray(getattr(self.said, field))
        if found.dtype.kind not in "fiub":
            raise self.refused(f"its {field} is {found.dtype}, no numbers")
        if not np.isfinite(found).all():
            raise self.refused(
                f"its {field} is not finite", "did training diverge, or is a time constant 0?"
            )
        return found if found.dtype.kind == "f" else found.astype(np.float64)

    def each(self, field: str, shape: Sequence[int]) -> np.ndarray:
        """A field that has a number for each neuron, or one for all: an array of that shape."""
        found = self.array(field)
        wanted = tuple(shape)
        ones = found.ndim - len(wanted)
        if ones > 0 and set(found.shape[:ones]) == {1}:
            found = found.reshape(found.shape[ones:])
        fits = found.ndim == len(wanted) and all(
            a in (1, b) for a, b in zip(found.shape, wanted, strict=True)
        )
        if found.size != 1 and not fits:
            raise self.refused(
                f"its {field} is {list(found.shape)}, and it reads {list(wanted)}",
                "give a number for each neuron, or one for all",
            )
        return np.broadcast_to(found.reshape(()) if found.size == 1 else found, wanted)


def in_order(path: Path, graph: Graph) -> list[Node]:
    """The nodes that the graph's Output depends on, each behind those that lead to it.

    Raises `UserError` for a cycle, for several inputs or outputs, and for edges to nowhere.
    """
    flat = _Flat(path)
    flat.add(graph, "")
    flat.connect()
    inputs, outputs = flat.ends(graph, "", "Input"), flat.ends(graph, "", "Output")
    for kind, found in (("Input", inputs), ("Output", outputs)):
        if len(found) != 1:
            raise UnsupportedModelError(
                f"{path}: {len(found)} nodes of type {kind}: {', '.join(map(repr, found)) or '-'}",
                hint="hqc compiles graphs of one Input, the frames, and one Output, the logits",
            )
    needed = flat.behind(outputs[0])
    try:
        order = list(TopologicalSorter({n: flat.sources[n] for n in needed}).static_order())
    except CycleError as error:
        cycle = " -> ".join(repr(name) for name in error.args[1])
        raise UnsupportedModelError(
            f"{path}: the graph is recurrent: {cycle}",
            hint="hqc compiles networks whose layers read only those before them",
        ) from None
    nodes = [Node(path, name, flat.nodes[name], tuple(flat.sources[name])) for name in order]
    for node in nodes:
        if not node.sources and node.name != inputs[0]:
            raise node.refused("nothing leads to it", "connect it, or take it out of the graph")
    return nodes


class _Flat:
    """Nodes of all graphs, inner ones under the names of theirs with a dot behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.nodes: dict[str, Any] = {}
        self._graphs: dict[str, Graph] = {}
        self._edges: dict[tuple[str, str], None] = {}
        self.sources: dict[str, list[str]] = {}

    def add(self, graph: Graph, prefix: str) -> None:
        """The nodes and edges of a graph and those inside it."""
        for name, node in graph.nodes.items():
            if isinstance(node, Graph):
                self._graphs[prefix + name] = node
                self.add(node, f"{prefix}{name}.")
            else:
                self.nodes[prefix + name] = node
        for a, b in graph.edges:
            self._edges[prefix + a, prefix + b] = None

    def connect(self) -> None:
        """Lead edges of a graph to its Input, and from its Output."""
        self.sources = {name: [] for name in self.nodes}
        for a, b in self._edges:
            source, target = self._end(a, "Output"), self._end(b, "Input")
            if source not in self.sources[target]:
                self.sources[target].append(source)

    def ends(self, graph: Graph, prefix: str, kind: str) -> list[str]:
        """A graph's own nodes of a kind."""
        found = (name for name, node in graph.nodes.items() if type(node).__name__ == kind)
        return [prefix + name for name in found]

    def behind(self, output: str) -> list[str]:
        """The node and all that lead to it."""
        found, pending = {output: None}, [output]
        while pending:
            new = [name for name in self.sources[pending.pop()] if name not in found]
            found |= dict.fromkeys(new)
            pending += new
        return list(found)

    def _end(self, name: str, kind: str) -> str:
        if name in self.nodes:
            return name
        if name not in self._graphs:
            raise UserError(
                f"{self._path}: an edge names {name!r}, which the graph does not have",
                hint=f"its nodes are: {', '.join(self.nodes) or 'none'}",
            )
        found = self.ends(self._graphs[name], f"{name}.", kind)
        if len(found) != 1:
            raise UnsupportedModelError(
                f"{self._path}: graph {name!r} has {len(found)} nodes of type {kind}",
                hint=f"an edge to or from it is clear where it has one {kind}",
            )
        return found[0]


def joined(builder: Builder, node: Node, sources: Sequence[Tensor]) -> Tensor | None:
    """What a node reads: the sum of what leads to it; None for the graph's Input."""
    if len(sources) < 2:
        return sources[0] if sources else None
    shapes = {x.shape for x in sources}
    if len(shapes) > 1:
        listed = " and ".join(str(list(shape)) for shape in sorted(shapes))
        raise node.refused(f"what leads to it has shapes {listed}", "only equal shapes add up")
    total = builder.settled(sources[0])
    for number, x in enumerate(sources[1:], 1):
        terms = [total.name, builder.settled(x).name]
        total = builder.op("Add", terms, total.shape, f"{node.name}/sum{number}")
    return total
