"""hqc compile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hqc.cli.application import (
    Output,
    bind_option,
    cc_option,
    cli,
    optimize_option,
    output_options,
    target_option,
)

if TYPE_CHECKING:
    from hqc.artifact import Artifact


@cli.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@target_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build"),
    show_default=True,
    help="Folder to write; replaced if hqc made it.",
)
@click.option("--name", help="Prefix of files and symbols (default: the graph's name).")
@click.option(
    "--passes", metavar="PIPELINE", help='E.g. "fold-batch-norm,make-integer{mode=exact}".'
)
@click.option(
    "--verify-each", is_flag=True, help="Run the model before and after each pass, and the code."
)
@click.option("--dump-after", metavar="PASS|all", help="Write models to OUTPUT-passes/.")
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Recordings to measure firing rates on (default: the folder `sample` beside the model).",
)
@click.option(
    "--explain",
    is_flag=True,
    help="List kernels, their share of the work, and why some are plain loops.",
)
@click.option(
    "--bench",
    is_flag=True,
    help="Also link NAME_bench, which times the model on the device and checks its logits.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Threads that may share an inference; the arena holds what each needs for itself.",
)
@click.option(
    "--tune",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Choose kernels by the records in FILE; measure layers that it lacks, and add them.",
)
@optimize_option
@bind_option
@cc_option
@output_options
def compile_(out: Output, model: Path, explain: bool, **options: Any) -> None:
    """Compile MODEL, an ONNX file, to a C library.

    With --tune the model is built with each kernel that its layers of spikes can be computed by,
    and run on the recordings, on this machine or under the target's emulator; each layer gets the
    fastest. What was measured is kept in FILE, by layer: the same file gives the same library
    anywhere, and nothing is measured again.

    \b
    Examples:
      hqc compile model.onnx --target arm-a72 -o build/
      hqc compile model.onnx --bind batch=1 --verify-each
      hqc compile model.onnx --target arm-a72 --threads 4
      hqc compile model.onnx --target arm-a72 --tune arm-a72.tune.json
      hqc compile model.onnx --target ./myboard.hqt --cc arm-linux-gnueabihf-gcc
    """
    import hqc

    artifact = hqc.compile(model, progress=out.progress, **options)
    memory = artifact.manifest["memory"]
    library = artifact.folder / f"lib{artifact.name}.a"
    out.result(
        artifact.manifest,
        f"{library} for {artifact.manifest['target']}\n"
        f"  weights  {memory['weight_bytes']:9,} bytes, "
        f"{artifact.manifest['average_bits']:.2f} bits each on average\n"
        f"  arena    {memory['arena_bytes']:9,} bytes "
        f"({memory['stream_arena_bytes']:,} to run step by step)"
        + _needs(artifact)
        + _plain(artifact.manifest["kernels"])
        + (_explained(artifact.manifest["kernels"]) if explain else ""),
    )


def _needs(artifact: Artifact) -> str:
    """Flash and RAM in all, of a machine without an operating system."""
    if not artifact.target.is_bare:
        return ""
    from hqc.fit import flash_need, ram_need

    needs = flash_need(artifact.manifest), ram_need(artifact.manifest)
    return "".join(f"\n  {need.kind:5}  {need}" for need in needs)


def _plain(kernels: list[dict]) -> str:
    """How many kernels are plain loops, and how much of the work is theirs; else nothing."""
    found = [kernel for kernel in kernels if kernel["plain"]]
    if not found:
        return ""
    names = ", ".join(f"{kernel['name']} ({kernel['op']})" for kernel in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"\n  plain    {len(found)} of {len(kernels)} kernels, {_share(found, kernels)} of the "
        f"multiply-accumulates: {names}{more}"
    )


def _explained(kernels: list[dict]) -> str:
    """A line for every kernel, its share of all multiply-accumulates first."""
    lines = [
        f"{_share([kernel], kernels):>7} {kernel['name']} ({kernel['op']})"
        + (f": plain, {kernel['plain']}" if kernel["plain"] else "")
        for kernel in kernels
    ]
    return "\n" + "\n".join(lines)


def _share(part: list[dict], kernels: list[dict]) -> str:
    """The part's multiply-accumulates in percent of all."""
    from hqc.manifest import share_of_work  # heavy

    return f"{100 * share_of_work(part, kernels):.1f} %"
