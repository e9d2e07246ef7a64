"""hqc export."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hqc.cli.application import (
    Output,
    cli,
    model_file_option,
    output_options,
    preprocessing_options,
)
from hqc.errors import UserError

_MOST_RECORDINGS = 32
"""Recordings that the module is compared on: as many as seconds allow."""


def _arguments(_context: object, _parameter: object, values: tuple[str, ...]) -> dict[str, object]:
    """KEY=VALUE options as keywords; a value that is no Python literal is a text."""
    arguments = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not (equals and key.isidentifier()):
            raise click.BadParameter(f"{value!r} is not KEY=VALUE, e.g. depth=4")
        try:
            arguments[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            arguments[key] = text
    return arguments


def _shape(_context: object, _parameter: object, text: str | None) -> tuple[int, ...] | None:
    """Sizes with commas between them."""
    if text is None:
        return None
    sizes = tuple(int(n) if n.strip().isdigit() else 0 for n in text.split(","))
    if len(sizes) < 2 or 0 in sizes:
        raise click.BadParameter(f"{text!r} is not e.g. 4,1,3,32,32: sizes above 0")
    return sizes


def _place(_context: object, _parameter: object, text: str | None) -> int | str | None:
    """One of several outputs, by number or by name."""
    return int(text) if text is not None and text.removeprefix("-").isdigit() else text


def _module_options(command: Callable) -> Callable:
    """What is said of a module, and not of a run."""
    for option in reversed(
        (
            click.option(
                "--arg",
                "arguments",
                multiple=True,
                metavar="KEY=VALUE",
                callback=_arguments,
                help="Argument of the function or class, a Python literal; repeatable.",
            ),
            click.option(
                "--checkpoint",
                type=click.Path(path_type=Path),
                help="Its weights: a state_dict, as torch or safetensors saves it.",
            ),
            click.option(
                "--no-strict",
                is_flag=True,
                help="Load what fits of a checkpoint that differs from the module.",
            ),
            click.option(
                "--input",
                "shape",
                metavar="T,1,C,H,W",
                callback=_shape,
                help="Shape of the frames, or of an image: 1,C,H,W.",
            ),
            click.option(
                "--example", type=click.Path(path_type=Path), help="Real frames of it, a .npy file."
            ),
            click.option(
                "--data",
                type=click.Path(path_type=Path),
                help="Recordings that the input's scale is fit to: 32 of them, evenly spread.",
            ),
            click.option(
                "--input-scale",
                type=click.FloatRange(0, min_open=True),
                help="Scale of the input's 8 bits, e.g. 1 for counts of events.",
            ),
            click.option(
                "--time-steps",
                type=click.IntRange(1),
                help="The module takes one time step a call: call it for each, and take the mean.",
            ),
            click.option(
                "--take",
                "place",
                metavar="NAME|INDEX",
                callback=_place,
                help="Which of the several outputs that the module returns.",
            ),
        )
    ):
        command = option(command)
    return command


@cli.command("export")
@click.argument("source", metavar="RUN|FILE.py:NAME")
@model_file_option
@click.option("--name", default="model", show_default=True, help="The graph's name.")
@click.option("--float", "as_float", is_flag=True, help="The float model of the same search.")
@_module_options
@preprocessing_options
@output_options
def export_(
    out: Output, source: str, output: Path, name: str, as_float: bool, **options: Any
) -> None:
    """Write a torch module as ONNX that hqc compiles.

    It is what `hqc search` left in the folder RUN, with its quantizers, or what a function or class
    of your own makes, FILE.py:NAME or pkg.mod:NAME.

    \b
    Examples:
      hqc export run/ -o model.onnx
      hqc export run/ -o fp32.onnx --float
      hqc export my_code.py:make_model --checkpoint weights.pt --input 4,1,3,32,32 -o float.onnx
    """
    if ":" not in source or Path(source).is_dir():
        _export_run(out, Path(source), output, name, as_float, options)
    elif as_float:
        raise UserError("--float is of the folder of a search", hint="leave it out")
    else:
        _export_module(out, source, output, name, **options)


def _export_run(
    out: Output, run: Path, output: Path, name: str, as_float: bool, options: dict[str, Any]
) -> None:
    from hqc.search.results import CONFIG, RECIPE, read_result

    if run.suffix == ".py":
        raise UserError(
            f"{run} alone does not say what makes the module", hint=f"e.g. {run}:make_model"
        )
    if any(options.values()):
        raise UserError(
            f"{run} is taken for the folder of a search, which says all of its module",
            hint="give --name and --float alone, or a module as FILE.py:NAME",
        )
    config = read_result(run, CONFIG)
    recipe = None if as_float else read_result(run, RECIPE)
    stage = "float" if as_float else "train"
    weights = run / f"{stage}.pt"
    if not weights.exists():
        raise UserError(
            f"{run} is not the folder of a finished search: it has no {weights.name}",
            hint="finish it: hqc search ... --resume",
        )
    import torch

    from hqc.data.task import load_task
    from hqc.frontend.export import export
    from hqc.quantize import apply_recipe
    from hqc.search.factory import build_model

    model = build_model(config["model"])
    if recipe is not None:
        apply_recipe(model, recipe)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    task = load_task(config["data"], config.get("time_steps"))
    example = task.test[0][:1].transpose(0, 1).float()
    export(model, example, output, name=name, preprocessing=task.preprocessing)
    out.result({"file": str(output)}, f"{output}: written")


def _export_module(
    out: Output,
    source: str,
    output: Path,
    name: str,
    *,
    arguments: dict[str, object],
    checkpoint: Path | None,
    no_strict: bool,
    time_steps: int | None,
    place: int | str | None,
    input_scale: float | None,
    **frames: Any,
) -> None:
    import torch

    from hqc.frontend.checkpoint import load_checkpoint
    from hqc.frontend.each_step import each_step
    from hqc.frontend.export import export
    from hqc.frontend.factory import make_module
    from hqc.frontend.frames import is_quantized

    if no_strict and checkpoint is None:
        raise UserError("--no-strict is of a checkpoint", hint="give --checkpoint, or leave it out")
    examples, real, said = _examples(**frames)
    out.progress(f"make {source}")
    torch.manual_seed(0)
    module = make_module(source, repr(source), arguments)
    written: dict[str, Any] = {"file": str(output)}
    notes = []
    if checkpoint is None:
        notes.append("its weights are those that it begins with: give --checkpoint for others")
    else:
        loaded = load_checkpoint(module, checkpoint, not no_strict)
        written |= {"weights": loaded.key, "left_out": loaded.left_out or None}
        notes += [f"weights are those of {loaded.key!r}"] if loaded.key else []
        notes += [f"left out of {checkpoint}: {loaded.left_out}"] if loaded.left_out else []
    if time_steps is not None:
        module, place = each_step(module, time_steps, place), None
    out.progress("trace and compare it")
    model = export(
        module, examples, output, name=name, preprocessing=said, input_scale=input_scale,
        fit_input=real, output=place,
    )  # fmt: skip
    written["input_quantized"] = is_quantized(model.graph.inputs[0])
    if not written["input_quantized"]:
        notes.append("its input has no scale yet: give --data, or hqc quantize it")
    out.result(written, "\n".join([f"{output}: written", *(f"note: {note}" for note in notes)]))


def _examples(
    shape: tuple[int, ...] | None, example: Path | None, data: Path | None, preprocessing: Any
) -> tuple[list, bool, dict | None]:
    """Frames to trace and compare on, whether they are real, and what files become them.

    Without real ones they are noise of both signs.
    """
    import numpy as np
    import torch

    from hqc.data.arrays import read_array
    from hqc.data.frames import as_frames
    from hqc.data.recordings import read_recordings

    given = None if example is None else read_array(example)
    if shape is None:
        if given is None:
            raise UserError(
                "the shape of the input is not said",
                hint="e.g. --input 4,1,3,32,32: time steps, one recording, channels, height, "
                "width; or --example frames.npy",
            )
        shape = given.shape
    said = None if preprocessing is None else preprocessing.of(shape)
    found = [] if given is None else [as_frames(given, shape)]
    if data is not None:
        found += [r.frames for r in read_recordings(data, shape, said, limit=_MOST_RECORDINGS)]
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return [torch.from_numpy(np.array(x)) for x in found or [noise]], bool(found), said
