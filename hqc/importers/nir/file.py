"""A NIR file: HDF5, a group for each node."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hqc.errors import UnsupportedModelError, UserError, in_short
from hqc.frontend.tensors import LARGEST_MODEL
from hqc.regular_files import read_file

GRAPH = "NIRGraph"


@dataclass(frozen=True)
class Graph:
    """Nodes by name, each a node of the `nir` package or a graph, and what leads where."""

    nodes: dict[str, Any]
    edges: Sequence[tuple[str, str]]
    metadata: dict[str, Any]
    version: str = ""


def read_graph(path: Path) -> Graph:
    """Read a file. Raises `UserError` for what is none, and for nodes that `nir` does not know."""
    data = read_file(path, LARGEST_MODEL)
    try:
        import h5py
        import nir  # noqa: F401  (the nodes are its)
    except ImportError:
        raise UserError(
            f"{path}: reading NIR needs the package nir", hint="pip install 'hqc[nir]'"
        ) from None
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            tree = _Tree(path)
            content = tree.read(file["node"], "node")
            version = tree.read(file["version"], "version")
        if content.get("type") != GRAPH:
            content = {"nodes": {"node": content}, "edges": [], "metadata": {}}
        return _graph(path, "", content, str(version))
    except UserError:
        raise
    except Exception as error:  # h5py and nir raise whatever they stumble over
        raise UserError(
            f"{path} is not a NIR graph, or is cut short ({len(data)} bytes): {in_short(error)}",
            hint="write it again with nir.write(path, graph)",
        ) from None


class _Tree:
    """Groups as dicts and datasets as arrays or texts, as long as they are not too large."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, LARGEST_MODEL

    def read(self, item: Any, name: str) -> Any:
        """A group or a dataset."""
        import h5py

        if isinstance(item, h5py.Group):
            links = {key: item.get(key, getlink=True) for key in item}
            outside = [k for k, link in links.items() if not isinstance(link, h5py.HardLink)]
            if outside:
                raise self._elsewhere(f"{name}/{outside[0]}")
            return {key: self.read(item[key], f"{name}/{key}") for key in item}
        if item.is_virtual or item.external:
            raise self._elsewhere(name)
        self._left -= item.nbytes
        if self._left < 0:
            raise UserError(
                f"{self._path}: its numbers take more than {LARGEST_MODEL:,} bytes",
                hint="hqc compiles networks for devices; is it the right graph?",
            )
        value = item[()]
        return value.decode() if isinstance(value, bytes) else value

    def _elsewhere(self, name: str) -> UserError:
        return UserError(
            f"{self._path}: {name!r} is not in the file itself",
            hint="write it again with nir.write(path, graph)",
        )


def _graph(path: Path, prefix: str, content: dict, version: str = "") -> Graph:
    nodes = {
        name: _node(path, f"{prefix}{name}", inner) for name, inner in content["nodes"].items()
    }
    edges = [(_text(a), _text(b)) for a, b in content["edges"]]
    return Graph(nodes, edges, content.get("metadata", {}), version)


def _node(path: Path, name: str, content: dict) -> Any:
    import nir

    kind = content.get("type")
    if kind == GRAPH:
        return _graph(path, f"{name}.", content)
    if not isinstance(kind, str) or not hasattr(nir, kind):
        raise UnsupportedModelError(
            f"{path}: node {name!r} is of type {kind!r}, which the package nir does not know",
            hint="upgrade nir, or replace the node",
        )
    try:
        return nir.dict2NIRNode(content)
    except Exception as error:  # its classes assert, and miss arguments
        raise UserError(
            f"{path}: node {name!r} ({kind}) is not as NIR defines it: {in_short(error)}",
            hint="write the graph again with nir.write(path, graph)",
        ) from None


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
