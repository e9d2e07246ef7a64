"""A compiled model as a package for npm: a WebAssembly module, and typed JavaScript around it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template

from hqc.codegen.toolchain import Toolchain
from hqc.version import VERSION

PACKAGE = "npm"
"""The folder of an artifact that holds the package."""

_ARRAYS = {"uint8": "Uint8Array", "int8": "Int8Array"}


def render(template: str, values: Mapping[str, object]) -> str:
    """A template of the runtime of WebAssembly with its values."""
    text = (resources.files("hqc.runtimes.wasm") / template).read_text()
    return Template(text).substitute(values)


def class_name(name: str) -> str:
    """The class of a model in JavaScript: `spikformer_s` gives `SpikformerS`."""
    return "".join(part.capitalize() for part in name.split("_"))


def script_values(manifest: Mapping) -> dict[str, object]:
    """What the templates say of a model, from its manifest."""
    shape, codes = manifest["input"]["shape"], manifest["input"]["codes"]
    values: dict[str, object] = {
        "name": manifest["name"],
        "NAME": manifest["name"].upper(),
        "Class": class_name(manifest["name"]),
        "version": VERSION,
        "target": manifest["target"],
        "time_steps": shape[0],
        "input_shape": json.dumps(shape),
        "input_size": math.prod(shape),
        "step_input_size": math.prod(shape[1:]),
        "output_shape": json.dumps(manifest["output"]["shape"]),
        "output_size": math.prod(manifest["output"]["shape"]),
        "class_names": json.dumps((manifest["preprocessing"] or {}).get("classes")),
        "codes": json.dumps(codes),
        "code_array": _ARRAYS[codes["dtype"]] if codes else None,
        "logit_scale": manifest["output"]["integer_scale"],
    }
    values["bytes_js"] = render("bytes.js.in", values) if codes else ""
    values["bytes_types"] = render("bytes.d.ts.in", values) if codes else ""
    return values


def write_package(manifest: Mapping, toolchain: Toolchain, folder: Path) -> None:
    """Write the package of a library of WebAssembly that `folder` holds, into a folder of it.

    Raises `ToolError` where the module does not link.
    """
    name, values = manifest["name"], script_values(manifest)
    package = folder / PACKAGE
    package.mkdir()
    for file in ("package.json", "index.js", "index.d.ts", "node.js"):
        (package / file).write_text(render(f"{file}.in", values))
    source = folder / f"{name}_module.c"
    source.write_text(render("module.c.in", values))
    module = f"{PACKAGE}/{name}.wasm"
    toolchain.module([source.name, f"lib{name}.a"], module, folder)
    (folder / module).chmod(0o644)
    source.unlink()
