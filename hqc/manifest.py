"""What a compiled model says of itself, in NAME.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from hqc.data.recordings import preprocessing_of
from hqc.dialect import find_op
from hqc.dialect.layouts import alias_root
from hqc.dialect.metadata import AREAS, LAYER, RATE
from hqc.targets import Target
from hqc.version import VERSION

if TYPE_CHECKING:
    from hqc.codegen.library import Library


def describe(
    kernels: ir.Model,
    library: Library,
    target: Target,
    folder: Path,
    source: Path,
    recordings: str | None,
) -> dict:
    """The manifest of a library that was written into `folder`.

    It is made from a planned kernel model, which was read from `source`. `recordings` is where
    those are that firing rates were measured on, from the folder's view.
    """
    shared = folder / f"{library.name}.so"
    frames, logits = kernels.graph.inputs[0], kernels.graph.outputs[0]
    interface, footprint = library.interface, library.footprint
    nodes = [n for n in kernels.graph if n.op_type != "Reshape"]
    layers = [_layer(n, library) for n in nodes if n.name in library.weight_bytes]
    weights = sum(layer["weights"] for layer in layers)
    bits = sum(layer["weights"] * layer["bits"] for layer in layers)
    return {
        "name": library.name,
        "hqc": VERSION,
        "target": target.name,
        "optimize": target.optimize,
        "threads": interface.threads,
        "source": {
            "file": source.name,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "recordings": recordings,
        },
        "library": {"sha256": hashlib.sha256(shared.read_bytes()).hexdigest()}
        if target.is_host
        else None,
        "input": {
            "name": frames.name,
            "dtype": "float32",
            "shape": list(interface.shape),
            "codes": interface.codes(),
            "image": interface.takes_images,
            "events": interface.takes_events,
        },
        "output": {
            "name": logits.name,
            "dtype": "float32",
            "shape": list(interface.output_shape),
            "integer_scale": 2.0 ** -interface.logit_shift(),
        },
        "preprocessing": preprocessing_of(kernels.metadata_props),
        "memory": {
            "arena_bytes": interface.arena_bytes["run"],
            "stream_arena_bytes": interface.arena_bytes["stream"],
            "code_bytes": footprint.code_bytes,
            "stack_bytes": footprint.stack_bytes,
            "constant_bytes": len(library.weights),
            "weight_bytes": sum(library.weight_bytes.values()),
        },
        "weights": weights,
        "average_bits": bits / weights,
        "layers": layers,
        "kernels": [_kernel(node, library) for node in nodes],
        "areas": json.loads(kernels.metadata_props[AREAS]),
    }


def _layer(node: ir.Node, library: Library) -> dict:
    attributes = {name: a.value for name, a in node.attributes.items()}
    layer = {
        "name": node.name,
        "kernel": attributes.get("kernel", node.op_type),
        "weights": int(np.prod(node.inputs[1].shape.numpy())),
        "bits": attributes["weight_bits"],
        "scheme": attributes["weight_scheme"],
        "weight_bytes": library.weight_bytes[node.name],
    }
    if "frac_bits" in attributes:
        layer["potential"] = {
            "frac_bits": attributes["frac_bits"],
            "mode": "exact" if attributes["exact"] else "guarded",
        }
    if RATE in node.inputs[0].metadata_props:
        layer["input_rate"] = float(node.inputs[0].metadata_props[RATE])
    return layer


def _behind(value: ir.Value | None) -> ir.Node | None:
    """The kernel that computes a value."""
    return None if value is None else alias_root(value).producer()


def share_of_work(part: Sequence[dict], kernels: Sequence[dict]) -> float:
    """How much of all multiply-accumulates some of a manifest's kernels make."""
    made, all_ = (sum(k["multiply_accumulates"] for k in ks) for ks in (part, kernels))
    return made / all_ if all_ else 0.0


def plain_share(kernels: Sequence[dict]) -> float:
    """How much of a manifest's multiply-accumulates kernels of plain loops make."""
    return share_of_work([k for k in kernels if k["plain"]], kernels)


def _kernel(node: ir.Node, library: Library) -> dict:
    """A kernel: those before it, and as `layer` the dialect layer that its weights are of.

    `plain` is why it is plain loops, where it is.
    """
    has_weights = node.name in library.weight_bytes
    return {
        "name": node.name,
        "op": node.op_type,
        "inputs": [n.name for n in map(_behind, node.inputs) if n is not None],
        "layer": node.inputs[1].metadata_props.get(LAYER) if has_weights else None,
        "multiply_accumulates": find_op(node).work(node),
        "plain": find_op(node).plain or None,
        "weight_bytes": library.weight_bytes.get(node.name, 0),
    }
