"""hqc verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from hqc.cli.application import (
    OWN_ERROR,
    Output,
    bind_option,
    cc_option,
    cli,
    optimize_option,
    output_options,
    target_option,
    threads_option,
)


@cli.command("verify")
@click.argument("model", type=click.Path(path_type=Path))
@target_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Recordings (default: the folder `sample` beside the model, else seeded random frames).",
)
@click.option("--passes", metavar="PIPELINE", help="Passes to lower the model with.")
@optimize_option
@bind_option
@cc_option
@threads_option
@output_options
def verify(out: Output, model: Path, **options: Any) -> None:
    """Compile MODEL, run it (under an emulator for other machines), compare every bit.

    Exit code 1 if compiled code, kernels or integers differ, or if a layer's integers differ from
    the float network's on the same inputs by more than rounding explains. Differences that have
    added up from layer to layer are counted and reported.

    \b
    Examples:
      hqc verify model.onnx --target arm-a72
      hqc verify model.onnx --target rv64gc --data recordings/
    """
    import hqc

    found = hqc.verify(model, progress=out.progress, **options)
    n = found.recordings
    lines = [
        f"{model} on {found.target}, {n} recordings",
        f"  compiled code equals integer model   {n - found.compiled_differs}/{n}",
        f"  step by step equals integer model    {n - found.stream_differs}/{n}",
        f"  kernel model equals integer model    {n - found.kernels_differ}/{n}",
        f"  rounding explains every layer        "
        f"{found.layers - len(found.unexplained)}/{found.layers}",
        *(f"    {what}" for what in found.unexplained.values()),
        *(
            f"    layer {layer!r}: rounding may move its potentials by {part:.2g} of its threshold"
            for layer, part in found.coarse.items()
        ),
        f"  integer against float: {found.spikes_differ} of {found.spikes:,} spikes differ, "
        f"logits by at most {found.logits_error:.2g}, same class {found.same_class}/{n}",
    ]
    lines += [f"    {k}: {v}" for k, v in found.spikes_differ_by_layer.items()]
    if found.accuracy:
        lines.append(
            f"  accuracy: float {found.accuracy['float']:.2%}, "
            f"compiled {found.accuracy['compiled']:.2%}"
        )
    out.result(found.as_dict(), "\n".join(lines))
    if not found.ok:
        sys.exit(OWN_ERROR)
