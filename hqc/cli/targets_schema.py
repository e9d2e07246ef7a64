"""hqc targets schema."""

from __future__ import annotations

import click

from hqc.cli.targets import targets


@targets.command("schema")
def schema() -> None:
    """Print the page that describes target files, made from their grammar.

    \b
    Examples:
      hqc targets schema
    """
    from hqc.targets.schema import schema as page

    click.echo(page(), nl=False)
