"""A crate around the archive, without std and without a generator of bindings."""

from __future__ import annotations

import math

import numpy as np

from hqc.artifact import Artifact
from hqc.packaging.form import Contents, form, has_threads

_TAKEN = """
abstract as async await become box break const continue crate do dyn else enum extern false
final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self
static struct super trait true try type typeof unsafe unsized use virtual where while yield
alloc core proc_macro std test
"""
"""Keywords of Rust, and crates that come with it."""


def _refuse(artifact: Artifact) -> str | None:
    if artifact.name in _TAKEN.split():
        return f"a crate cannot be called {artifact.name!r} in Rust: compile with another --name"
    return has_threads(artifact)


@form("rust", "a crate without std, for every target", _refuse, "rust")
def write_crate(contents: Contents) -> None:
    """Write the crate."""
    manifest = contents.artifact.manifest
    frames = manifest["input"]
    errors = [(_camel(name.removeprefix("ERROR_")), text) for name, text in contents.statuses()]
    values = {
        "variants": _lines("    /// {1}.\n    {0},", errors),
        "numbered": _lines("            {2} => Error::{0},", errors),
        "texts": _lines('            Error::{0} => "{1}",', errors),
        "scale_of_logits": np.float32(manifest["output"]["integer_scale"]),
        "time_steps": frames["shape"][0],
        "step_input_size": math.prod(frames["shape"][1:]),
        "output_size": math.prod(manifest["output"]["shape"]),
        "codes": "",
        "code_calls": "",
        "codes_extern": "",
        "image_calls": "",
        "image_extern": "",
        "events": "",
        "event_calls": "",
        "events_extern": "",
    }
    if frames["codes"]:
        dtype = {"uint8": "u8", "int8": "i8", "uint16": "u16", "int16": "i16", "int32": "i32"}
        codes = {
            **frames["codes"],
            "dtype": dtype[frames["codes"]["dtype"]],
            "scale": np.float32(frames["codes"]["scale"]),
        }
        for part in ("codes", "code_calls", "codes_extern"):
            values[part] = contents.render(f"{part}.rs.in", **codes)
    if frames["image"]:
        for part in ("image_calls", "image_extern"):
            values[part] = contents.render(f"{part}.rs.in")
    if frames["events"]:
        for part in ("events", "event_calls", "events_extern"):
            values[part] = contents.render(f"{part}.rs.in")
    contents.put_archive("native")
    contents.write("lib.rs.in", "src/lib.rs", **values)
    contents.write("Cargo.toml.in", "Cargo.toml")
    contents.write("build.rs.in", "build.rs")
    contents.write("classify.rs.in", "examples/classify.rs")
    contents.write("streams.rs.in", "tests/streams.rs")


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _lines(form: str, errors: list[tuple[str, str]]) -> str:
    """A line for each error: of its name, its text and its number, from 1 on."""
    return "\n".join(form.format(name, text, i) for i, (name, text) in enumerate(errors, 1))
