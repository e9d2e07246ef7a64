"""hqc search."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hqc.cli.application import Output, cli, output_options
from hqc.errors import UserError


def parse_keep(_context: object, _parameter: object, values: tuple[str, ...]) -> dict[str, str]:
    """GLOB=CHOICE options as a dict."""
    keep = {}
    for value in values:
        pattern, equals, choice = value.partition("=")
        if not (pattern and equals and choice):
            raise click.BadParameter(f"{value!r} is not GLOB=CHOICE, e.g. head=8u")
        keep[pattern] = choice
    return keep


@cli.command("search")
@click.option("--model", required=True, metavar="FILE.py:FUNCTION", help="Makes the torch module.")
@click.option("--data", required=True, metavar="NAME:PATH", help="Dataset, e.g. nmnist:data/.")
@click.option(
    "--time-steps", type=click.IntRange(1), show_default="the dataset's", help="Time steps T."
)
@click.option("--method", default="spikehq", show_default=True, help="How to search.")
@click.option("--beta", default=2.0, show_default=True, help="Weight of hardware in the loss.")
@click.option(
    "--choices",
    default="",
    show_default="2u,4u,2l,4l,fp32; for qsvit 16u,12u,8u,4u",
    help="Quantizers to choose from: bits and u (uniform, 2 to 16) or l (power of two, 2 to 4), or "
    "fp32.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="GLOB=CHOICE",
    callback=parse_keep,
    help="Fix the quantizer of layers, e.g. head=8u.",
)
@click.option("--profile", default="spikehq", show_default=True, help="Energy profile of the loss.")
@click.option("--float-epochs", type=click.IntRange(0), default=36, show_default=True)
@click.option("--search-epochs", type=click.IntRange(1), default=12, show_default=True)
@click.option("--train-epochs", type=click.IntRange(0), default=36, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--mixed-precision", is_flag=True, help="Train with bfloat16 products and sums.")
@click.option(
    "--fuse-neurons",
    is_flag=True,
    help="Train hqc's LIF layers as kernels of torch.compile's, which needs a C++ compiler.",
)
@click.option(
    "--tolerance", default=0.01, show_default=True, help="Accuracy that greedy and beam may lose."
)
@click.option("--beam", type=click.IntRange(1), default=4, show_default=True, help="Beam's width.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that measure the candidates of qsvit, greedy and beam.",
)
@click.option("--device", default="cpu", show_default=True, help="Where to train, e.g. cuda.")
@click.option("--ray", is_flag=True, help="Take the workers from a Ray cluster.")
@click.option(
    "--float-from",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Take the float network of that run, instead of training one.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("run"), show_default=True
)
@click.option("--tensorboard", is_flag=True, help="Write the metrics for TensorBoard too.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted search.")
@output_options
def search(
    out: Output,
    model: str,
    data: str,
    time_steps: int | None,
    method: str,
    choices: str,
    float_from: Path | None,
    output: Path,
    tensorboard: bool,
    resume: bool,
    **options: Any,
) -> None:
    """Train a model, search each layer's quantizer, and train with what was found.

    Writes recipe, metrics, checkpoints and the result into a folder, from which `hqc export` makes
    an ONNX model. An interrupted search goes on with --resume.

    \b
    Examples:
      hqc search --model model.py:spikformer --data nmnist:data/ --keep head=8u -o run/
      hqc search --model model.py:spikformer --data nmnist:data/ --keep head=8u -o run/ --resume
      torchrun --nproc-per-node 2 --no-python hqc search ...    # training in two processes
    """
    from hqc.data.task import load_task
    from hqc.search import distributed
    from hqc.search.device import find_device
    from hqc.search.factory import build_model
    from hqc.search.memory import keep_freed_memory
    from hqc.search.method import Options, find_method, search_space
    from hqc.search.run_folder import RunFolder

    keep_freed_memory()
    distributed.join()
    run_method = find_method(method)
    asked = Options(choices=tuple(filter(None, choices.split(","))), **options)
    find_device(asked.device)
    network = build_model(model, asked.seed)
    search_space(network, asked)
    config = {"model": model, "data": data, "time_steps": time_steps, "method": method}
    config["float_from"] = float_from and str(float_from)
    config |= {**asdict(asked), "choices": list(asked.choices)}
    for where in ("workers", "ray", "device", "fuse_neurons"):  # a search may go on elsewhere
        del config[where]
    task = load_task(data, time_steps)
    weights = RunFolder.float_weights(float_from) if float_from else None
    run = RunFolder(output, config, resume=resume, tensorboard=tensorboard, progress=out.progress)
    if weights is not None:
        run.save("float", weights)
    try:
        result = run_method(network, task, asked, run)
    except KeyboardInterrupt:
        raise UserError(
            f"interrupted; {output} holds everything up to the last whole epoch",
            hint="go on with the same command and --resume",
        ) from None
    if not distributed.is_first():
        return
    out.result(
        result,
        f"{output}: {result['accuracy']:.2%} on the test split "
        f"(float {result['float_accuracy']:.2%}), {result['average_bits']:.2f} bits a weight, "
        f"{result['storage_ratio']:.2f}x less storage, {result['energy_ratio']:.2f}x less energy",
    )
