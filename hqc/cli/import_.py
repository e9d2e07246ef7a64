"""hqc import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hqc.cli.application import (
    Output,
    bind_option,
    cli,
    model_file_option,
    output_options,
    preprocessing_options,
)


@cli.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@model_file_option
@click.option("--from", "format_", metavar="FORMAT", help="Its format, where the name says none.")
@click.option("--time-steps", type=click.IntRange(1), help="Time steps of a run.")
@click.option(
    "--dt",
    type=click.FloatRange(0, min_open=True),
    help="Seconds of a time step; of NIR 1e-4, if its file says none.",
)
@click.option(
    "--reset",
    type=click.Choice(["value", "subtract"]),
    help="What spikes do to potentials: set them (default), or take the threshold from them.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Recordings that the input's scale is fit to."
)
@click.option(
    "--input-scale",
    type=click.FloatRange(0, min_open=True),
    help="Scale of the input's codes, e.g. 1 for counts of spikes.",
)
@click.option(
    "--input-bits",
    type=click.IntRange(2, 8),
    default=8,
    show_default=True,
    help="Bits of the input's codes: fewer leave potentials of long runs more to be exact.",
)
@preprocessing_options
@bind_option
@output_options
def import_(
    out: Output,
    file: Path,
    output: Path,
    format_: str | None,
    time_steps: int | None,
    dt: float | None,
    reset: str | None,
    **options: Any,
) -> None:
    """Import FILE, a network of another format, as an ONNX model that hqc compiles.

    \b
    Examples:
      hqc import network.nir -o model.onnx --time-steps 8 --input-scale 1
      hqc import exported.onnx -o model.onnx --data recordings/
    """
    from hqc.frontend.save import save_model
    from hqc.importers import Asked, find_importer
    from hqc.importers.imported import import_file, needs_quantizer

    found = find_importer(file, format_)
    out.progress(f"read {found.about}")
    model = import_file(found, file, Asked(time_steps, dt, reset), **options)
    save_model(model, output)
    missing = needs_quantizer(model)
    note = "; its input has no scale yet: give --data, or hqc quantize it" if missing else ""
    written = {"file": str(output), "format": found.name, "input_quantized": not missing}
    out.result(written, f"{output}: written{note}")
