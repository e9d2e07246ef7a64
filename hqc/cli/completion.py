"""hqc completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hqc.cli.application import cli


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that makes SHELL complete hqc's commands, options and targets.

    \b
    Examples:
      hqc completion bash >> ~/.bashrc
      hqc completion fish > ~/.config/fish/completions/hqc.fish
    """
    click.echo(get_completion_class(shell)(cli, {}, "hqc", "_HQC_COMPLETE").source())
