"""hqc report."""

from __future__ import annotations

from pathlib import Path

import click

from hqc.cli.application import Output, cli, output_options
from hqc.cli.energy import profile_option


@cli.command("report")
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="File to write.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Recordings to run (default: those that BUILD was compiled with).",
)
@click.option(
    "--search", type=click.Path(path_type=Path), help="Folder of the search behind the model."
)
@click.option(
    "--bench",
    type=click.Path(path_type=Path),
    help="Result of hqc bench --on PLACE --save FILE.json, to show beside it.",
)
@profile_option
@output_options
def report(
    out: Output,
    build: Path,
    output: Path,
    data: Path | None,
    search: Path | None,
    bench: Path | None,
    profile: str,
) -> None:
    """Write what there is to know of BUILD, a folder made by `hqc compile`, as one HTML file.

    \b
    Examples:
      hqc report build-host/ -o report.html
      hqc report build-arm/ --profile spikehq --data recordings/
      hqc report build-arm/ --bench raspberry-pi.json
    """
    from hqc.artifact import Artifact
    from hqc.targets import load_profile

    artifact, chosen = Artifact.open(build), load_profile(profile)
    from hqc.report import write_report

    found = write_report(
        artifact,
        chosen,
        output,
        data=data,
        search=search,
        bench=bench,
        progress=out.progress,
    )
    out.result(found.profile.as_dict() | {"file": str(output)}, f"{output}: written")
