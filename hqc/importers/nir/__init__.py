"""NIR, the Neuromorphic Intermediate Representation: graphs of equations in continuous time.

A graph becomes a model of one run of T time steps. Its logits are what its Output gives, summed
over them: of spikes their count. See docs/importing.md for what becomes of each node.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hqc.errors import UserError
from hqc.importers.importer import Asked, importer
from hqc.importers.nir.builder import Builder, Tensor
from hqc.importers.nir.conventions import DT
from hqc.importers.nir.file import read_graph
from hqc.importers.nir.network import in_order, joined

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

_TAKES = ("time_steps", "dt", "reset")


@importer("nir", "a NIR graph", lambda path: path.suffix == ".nir", takes=_TAKES)
def read_nir(path: Path, asked: Asked) -> onnx.ModelProto:
    """The model of a file: frames [T, 1, *shape of Input] to logits [1, classes].

    Time steps and their seconds are those that are asked for, or that the file's metadata say; its
    neurons are set to `v_reset`, or with `reset="subtract"` lowered by their threshold.
    """
    graph = read_graph(path)
    time_steps = asked.time_steps or _number(graph.metadata, "time_steps", 0)
    if not time_steps >= 1:
        raise UserError(
            f"{path}: a NIR graph does not say how many time steps a run has",
            hint="say it, e.g. --time-steps 8",
        )
    dt = asked.dt if asked.dt is not None else _number(graph.metadata, "dt", DT)
    if not (math.isfinite(dt) and dt > 0):
        raise UserError(f"{path}: a time step of {dt:g} s", hint="give --dt in seconds, above 0")
    nodes = in_order(path, graph)
    builder = Builder(path, int(time_steps), dt, asked.reset == "subtract")
    made: dict[str, Tensor] = {}
    for node in nodes:
        sources = [made[name] for name in node.sources]
        made[node.name] = builder.lowered(node, joined(builder, node, sources))
    builder.end(made[nodes[-1].name], nodes[-1].name)
    proto = builder.finish(path.stem)
    for key, value in {"nir.version": graph.version, "nir.dt": repr(dt)}.items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def _number(metadata: dict[str, Any], key: str, otherwise: float) -> float:
    """What metadata say, if that is a number."""
    found = np.asarray(metadata.get(key, otherwise))
    return float(found) if found.dtype.kind in "iuf" and found.ndim == 0 else otherwise
