"""hqc convert."""

from __future__ import annotations

from pathlib import Path

import click

from hqc.cli.application import Output, bind_option, cli, output_options


@cli.command("convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", "format_", metavar="FORMAT", required=True, help="Format to write.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
@click.option("--dt", type=click.FloatRange(0, min_open=True), help="Seconds of a time step.")
@bind_option
@output_options
def convert(
    out: Output,
    model: Path,
    format_: str,
    output: Path,
    dt: float | None,
    bind: dict[str, int],
) -> None:
    """Write MODEL, which hqc compiles, in the format of other tools.

    \b
    Examples:
      hqc convert model.onnx --to nir -o network.nir
    """
    from hqc.exporters import Wanted, find_exporter
    from hqc.frontend.load import load_model

    found = find_exporter(format_)
    out.progress(f"read {model}")
    loaded = load_model(model, bind)
    out.progress(f"write {found.about}")
    found.write(loaded, output, Wanted(dt))
    out.result({"file": str(output), "format": found.name}, f"{output}: written")
