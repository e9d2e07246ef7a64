"""hqc targets fmt."""

from __future__ import annotations

import sys

import click

from hqc.cli.application import OWN_ERROR
from hqc.cli.targets import targets


@targets.command("fmt")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file would change.")
def fmt(files: tuple[str, ...], check: bool) -> None:
    """Lay target files out as usual; their meaning and their comments stay.

    \b
    Examples:
      hqc targets fmt myboard.hqt
      hqc targets fmt --check *.hqt
    """
    from hqc.atomic_files import replacing
    from hqc.targets.formatting import format_text
    from hqc.targets.syntax import read

    texts = {file: read(file) for file in files}
    changed = {f: t for f, s in texts.items() if (t := format_text(s)) != s.text}
    for file, text in changed.items():
        if not check:
            with replacing(file) as temporary:
                temporary.write_text(text)
        click.echo(f"{file}: {'would change' if check else 'laid out'}")
    if changed and check:
        sys.exit(OWN_ERROR)
