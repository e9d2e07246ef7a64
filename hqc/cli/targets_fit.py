"""hqc targets fit."""

from __future__ import annotations

from dataclasses import asdict

import click

from hqc.cli.application import Output, cc_option, output_options
from hqc.cli.targets import targets


@targets.command("fit")
@click.argument("name")
@cc_option
@output_options
def fit(out: Output, name: str, cc: str | None) -> None:
    """Print what parts of kernels cost on the target NAME, or that of a .hqt file.

    Kernels of layers of several shapes, bits and firing rates are timed on this machine, or counted
    under the target's emulator, and what each part takes is fitted to that. The statement belongs
    into the target's file, where `hqc compile` reads it.

    \b
    Examples:
      hqc targets fit host
      hqc targets fit arm-a72
      hqc targets fit myboard.hqt --json
    """
    from hqc.cost_fit import fit_costs

    found = fit_costs(name, cc=cc, progress=out.progress)
    text = (
        f"  {found.statement()}\n\n"
        f"# {found.samples} kernels. Choices by these costs take {found.loss:.1%} more than the "
        f"least, by those of {found.target} today {found.loss_before:.1%}."
    )
    out.result(asdict(found), text)
