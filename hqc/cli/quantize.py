"""hqc quantize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hqc.cli.application import (
    Output,
    bind_option,
    cli,
    model_file_option,
    output_options,
    preprocessing_options,
)
from hqc.cli.search import parse_keep
from hqc.errors import UserError

_COUNTED = {"labels": "right", "agreement": "of the float network's class (no labels)"}


@cli.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Recordings: a folder of them, or .npz with frames x and classes y.",
)
@model_file_option
@click.option("--bits", type=click.IntRange(2, 16), help="The same bits for every layer.")
@click.option(
    "--method",
    metavar="uniform|qsvit|greedy|beam",
    show_default="uniform with --bits, else qsvit",
    help="How to choose bits.",
)
@click.option(
    "--choices",
    default="",
    show_default="16u,12u,8u,4u",
    help="Bits to choose from, 2u to 16u.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="GLOB=CHOICE",
    callback=parse_keep,
    help="Fix the bits of layers, e.g. head=8u.",
)
@click.option(
    "--per",
    type=click.Choice(["channel", "tensor"]),
    default="channel",
    show_default=True,
    help="A scale for each output channel, or one a layer.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(-1, 1),
    default=0.01,
    show_default=True,
    help="Accuracy that greedy and beam may lose.",
)
@click.option("--beam", type=click.IntRange(1), default=4, show_default=True, help="Beam's width.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Recordings to read, evenly spread.",
)
@click.option(
    "--measure",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="How many of them candidates are measured on.",
)
@click.option(
    "--input-scale",
    type=click.FloatRange(0, min_open=True),
    help="Scale of the input's 8 bits (default: from the recordings).",
)
@click.option("--profile", default="spikehq", show_default=True, help="Energy profile.")
@preprocessing_options
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    show_default="OUTPUT.quantize",
    help="Folder of the search; a finished one is replaced.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted search.")
@bind_option
@output_options
def quantize_(
    out: Output,
    model: Path,
    output: Path,
    data: Path,
    bits: int | None,
    method: str | None,
    choices: str,
    bind: dict[str, int],
    preprocessing: Any,
    run: Path | None,
    resume: bool,
    **options: Any,
) -> None:
    """Quantize MODEL, an ONNX file with float weights, after training: no torch is needed.

    Weights get uniform quantizers, each layer with bits that the method chooses by what rounding
    costs on the recordings, and the input one of 8 bits, if it has none. Nothing is trained.

    \b
    Examples:
      hqc quantize float.onnx --bits 4 --data calib/ -o model.onnx
      hqc quantize float.onnx --data calib.npz --keep head=8u -o model.onnx
      hqc quantize float.onnx --data calib/ --method greedy --tolerance 0.005 -o model.onnx
    """
    from hqc.post_training.quantize import Asked, quantize

    asked = Asked(method or ("uniform" if bits else "qsvit"), _choices(bits, choices), **options)
    if bits and asked.method != "uniform":
        raise UserError(
            f"--bits {bits} are those of every layer, and --method {method} chooses them",
            hint="leave one of them out, or name several with --choices",
        )
    result = quantize(
        model, output, data, asked, bind=bind, preprocessing=preprocessing,
        run=run, resume=resume, progress=out.progress,
    )  # fmt: skip
    out.result(result, _table(result))


def _choices(bits: int | None, choices: str) -> tuple[str, ...]:
    if bits and choices:
        raise UserError(
            f"--bits {bits} and --choices {choices} both say which bits", hint="leave one out"
        )
    return (f"{bits}u",) if bits else tuple(filter(None, choices.split(",")))


def _percent(lost: float) -> str:
    return f"{100 * lost + 0.0:.1f}%"  # 0.0 makes no zero of a negative one


def _table(result: dict) -> str:
    layers = result["layers"]
    width = max(len("layer"), *(len(x["name"]) for x in layers))
    alone = any(x["drop_alone"] is not None for x in layers)
    lines = [f"{'layer':{width}}  kind        weights  bits  scheme" + "  lost alone" * alone]
    for x in layers:
        line = f"{x['name']:{width}}  {x['kind']:7}  {x['weights']:10,}  {x['bits']:4}  uniform"
        lines.append(line + (f"  {_percent(x['drop_alone']):>10}" if alone else ""))
    counted = _COUNTED[result["counted"]]
    lines += [
        "",
        f"{result['file']}: {result['accuracy']:.2%} of {result['recordings']} recordings "
        f"{counted}, float {result['float_accuracy']:.2%}",
        f"{result['average_bits']:.2f} bits a weight, one scale a "
        f"{'channel' if result['per'] == 'channel' else 'layer'}, "
        f"{result['storage_ratio']:.2f}x less storage and {result['energy_ratio']:.2f}x less "
        f"energy than fp32 (profile {result['profile']})",
        f"{result['run']}: recipe and result"
        + (", pictures" if result["pictures"] else "; no pictures: pip install matplotlib"),
    ]
    return "\n".join(lines)
