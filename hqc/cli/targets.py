"""hqc targets."""

from __future__ import annotations

from dataclasses import asdict

from hqc.cli.application import Output, cli, output_options


@cli.command("targets")
@output_options
def targets(out: Output) -> None:
    """List the machines that hqc compiles for.

    \b
    Examples:
      hqc targets
      hqc targets --json
    """
    from hqc.targets import load_target, target_names

    known = [load_target(name) for name in target_names()]
    width = max(len(t.name) for t in known)
    out.result([asdict(t) for t in known], "\n".join(f"{t.name:{width}}  {t.about}" for t in known))
