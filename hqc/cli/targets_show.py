"""hqc targets show."""

from __future__ import annotations

import click

from hqc.cli.targets import targets


@targets.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print the target or energy profile NAME, or those of a .hqt file, with all it inherits.

    \b
    Examples:
      hqc targets show arm-a72
      hqc targets show horowitz-45nm
      hqc targets show myboard.hqt
    """
    from hqc.errors import UserError
    from hqc.targets.formatting import show as show_block
    from hqc.targets.syntax import blocks, names, read, suggest

    if name.endswith(".hqt"):
        found = [(b.kind, name) for b in blocks(read(name))]
        found = list(dict.fromkeys(found))
    else:
        found = [(kind, name) for kind in ("target", "energy") if name in names(kind)]
    if not found:
        known = [*names("target"), *names("energy")]
        raise UserError(
            f"there is no target or energy profile {name!r}",
            hint=suggest(name, known) or "hqc targets lists them",
        )
    click.echo("\n".join(show_block(*block) for block in found), nl=False)
