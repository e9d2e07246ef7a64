"""hqc package."""

from __future__ import annotations

from pathlib import Path

import click

from hqc.cli.application import Output, cli, output_options
from hqc.packaging import find_form, forms, package


def _help() -> str:
    width = max(len(form.name) for form in forms())
    listed = "\n".join(f"  {form.name:{width}}  {form.about}" for form in forms())
    return (
        "Package BUILD, a folder made by `hqc compile`, for another language or build system.\n\n"
        f"\b\nForms:\n{listed}\n\n"
        "\b\nExamples:\n"
        "  hqc package build-arm/ --as python -o wheels/\n"
        "  hqc package build-m4/ --as zephyr -o modules/nmnist/\n"
    )


def _complete(_context: object, _parameter: object, incomplete: str) -> list[str]:
    return [form.name for form in forms() if form.name.startswith(incomplete)]


@cli.command("package", help=_help())
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--as", "form", required=True, metavar="FORM", shell_complete=_complete, help="A form above."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("package"),
    show_default=True,
    help="Folder to write; replaced if hqc package made it.",
)
@output_options
def package_(out: Output, build: Path, form: str, output: Path) -> None:
    """Package BUILD; `_help` is what users read."""
    find_form(form)
    from hqc.artifact import Artifact

    files = package(Artifact.open(build), form, output)
    data = {"form": form, "output": str(output), "files": files}
    out.result(data, "\n".join(str(output / file) for file in files))
