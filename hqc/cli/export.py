"""hqc export."""

from __future__ import annotations

from pathlib import Path

import click

from hqc.cli.application import Output, cli, output_options


@cli.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("model.onnx"),
    show_default=True,
    help="File to write.",
)
@click.option("--name", default="model", show_default=True, help="The graph's name.")
@click.option("--float", "as_float", is_flag=True, help="The float model of the same search.")
@output_options
def export_(out: Output, run: Path, output: Path, name: str, as_float: bool) -> None:
    """Write the model that `hqc search` left in RUN as ONNX, with its quantizers.

    \b
    Examples:
      hqc export run/ -o model.onnx
      hqc export run/ -o fp32.onnx --float
    """
    from hqc.errors import UserError
    from hqc.search.results import CONFIG, RECIPE, read_result

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
