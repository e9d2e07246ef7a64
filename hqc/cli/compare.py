"""hqc compare."""

from __future__ import annotations

from pathlib import Path

import click

from hqc.cli.application import Output, cli, output_options, plot_option

_COLUMNS = ("accuracy", "lost", "bits", "memory", "energy")


@cli.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@plot_option("accuracy against energy")
@output_options
def compare(out: Output, runs: tuple[Path, ...], plot: Path | None) -> None:
    """Set finished searches side by side: accuracy, bits, memory and energy.

    Accuracy is that on the test split, `lost` what it lacks of the run's float network; memory and
    energy are shares of the float network's, by the energy profile of the run.

    \b
    Examples:
      hqc compare runs/uniform-8 runs/qsvit runs/spikehq
      hqc compare runs/beta-* --plot pareto.svg
    """
    from hqc.search.results import CONFIG, RESULT, read_result

    rows = []
    for run in runs:
        result, method = read_result(run, RESULT), read_result(run, CONFIG)["method"]
        rows.append(
            {
                "run": str(run),
                "method": method,
                "accuracy": result["accuracy"],
                "lost": result["float_accuracy"] - result["accuracy"],
                "average_bits": result["average_bits"],
                "memory": 1 / result["storage_ratio"],
                "energy": 1 / result["energy_ratio"],
            }
        )
    width = max(len(row["run"]) for row in rows)
    lines = [" ".join([" " * width, *(f"{name:>9}" for name in _COLUMNS)])]
    for row in rows:
        cells = (
            f"{row['accuracy']:.2%}",
            f"{row['lost']:.2%}",
            f"{row['average_bits']:.2f}",
            f"{row['memory']:.2%}",
            f"{row['energy']:.2%}",
        )
        lines.append(" ".join([f"{row['run']:{width}}", *(f"{cell:>9}" for cell in cells)]))
    if plot:
        from hqc.search.plots import draw_pareto

        draw_pareto(rows, plot)
    out.result({"runs": rows}, "\n".join(lines))
