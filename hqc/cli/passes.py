"""hqc passes."""

from __future__ import annotations

from dataclasses import fields

from hqc.cli.application import Output, cli, output_options


@cli.command("passes")
@output_options
def passes(out: Output) -> None:
    """List the passes that --passes takes, with their options and defaults.

    \b
    Examples:
      hqc passes
      hqc compile model.onnx --passes "$(hqc passes --json | jq -r .default)"
    """
    from hqc.passes import DEFAULT
    from hqc.passes import passes as registered

    rows = {
        name: {
            "about": cls.__doc__.strip().splitlines()[0],
            "options": {f.name: f.default for f in fields(cls)},
        }
        for name, cls in sorted(registered().items())
    }
    lines = []
    for name, row in rows.items():
        options = ",".join(f"{k}={v}" for k, v in row["options"].items())
        lines.append(f"{name}{{{options}}}" if options else name)
        lines.append(f"    {row['about']}")
    out.result({"default": DEFAULT, "passes": rows}, "\n".join([*lines, f"default: {DEFAULT}"]))
