"""hqc ops."""

from __future__ import annotations

import click

from hqc.cli.application import cli


@cli.command("ops")
def ops() -> None:
    """List what compiles: ops, attributes, layouts and neurons.

    \b
    Examples:
      hqc ops
    """
    from hqc.passes.coverage import coverage

    click.echo(coverage(), nl=False)
