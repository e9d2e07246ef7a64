"""NIR: what it can say of a network, for neuromorphic chips and the libraries that read it."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import onnx_ir as ir

from hqc.errors import UserError
from hqc.exporters.exporter import Wanted, exporter
from hqc.exporters.nir.network import Network
from hqc.importers.nir.conventions import DT
from hqc.passes import parse_pipeline, run_passes

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


@exporter("nir", "a NIR graph", takes=("dt",))
def write_nir(model: ir.Model, path: Path, wanted: Wanted) -> None:
    """Write what each time step computes; the logits are its Output, summed over the steps.

    BatchNorm goes into the layer before it, the mean over time into the weights behind it. Of
    quantizers the rounded numbers stay, and metadata that `hqc import` reads them back from.
    Raises `UserError`, naming the node, for what NIR cannot say.
    """
    try:
        import nir
    except ImportError:
        raise UserError(
            "writing NIR needs the package nir", hint="pip install 'hqc[nir]'"
        ) from None
    dt = DT if wanted.dt is None else wanted.dt
    model = run_passes(model, parse_pipeline("fold-constants"))
    network = Network(model.graph, dt)
    for node in model.graph:
        network.add(node)
    nir.write(path, network.finish())
