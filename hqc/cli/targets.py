"""hqc targets."""

from __future__ import annotations

from dataclasses import asdict

import click

from hqc.cli.application import Output, cli, output_options


@cli.group("targets", invoke_without_command=True)
@output_options
@click.pass_context
def targets(context: click.Context, out: Output) -> None:
    """List the machines that hqc compiles for, and the energy profiles.

    \b
    Examples:
      hqc targets
      hqc targets show arm-a72
      hqc targets fmt myboard.hqt
    """
    if context.invoked_subcommand:
        return
    from hqc.targets import load_profile, load_target, profile_names, target_names

    machines = [load_target(name) for name in target_names()]
    profiles = [load_profile(name) for name in profile_names()]
    width = max(len(x.name) for x in [*machines, *profiles])
    lines = [f"{t.name:{width}}  {t.about}" for t in machines]
    lines += ["", "energy profiles", *(f"{p.name:{width}}  {p.about}" for p in profiles)]
    data = {
        "targets": [asdict(t) for t in machines],
        "energy": [{"name": p.name, "about": p.about, "source": p.source} for p in profiles],
    }
    out.result(data, "\n".join(lines))
