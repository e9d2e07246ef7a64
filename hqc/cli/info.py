"""hqc info."""

from __future__ import annotations

from pathlib import Path

import click

from hqc.cli.application import Output, bind_option, cli, output_options


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--time-steps", type=click.IntRange(1), help="Time steps of a run, for NIR.")
@click.option("--dt", type=click.FloatRange(0, min_open=True), help="Seconds of a time step.")
@bind_option
@output_options
def info(
    out: Output, model: Path, time_steps: int | None, dt: float | None, bind: dict[str, int] | None
) -> None:
    """Show what MODEL is: input, layers, bits, neurons, and which kernels it gets.

    \b
    Examples:
      hqc info model.onnx
      hqc info model.onnx --json
    """
    from hqc.importers import Asked
    from hqc.info import model_info

    found = model_info(model, bind=bind, asked=Asked(time_steps, dt))
    out.result(found, _text(found))


def _text(found: dict) -> str:
    file, given = found["file"], found["input"]
    opsets = ", ".join(f"{domain} {version}" for domain, version in file["opset"].items())
    steps = given["time_steps"]
    lines = [
        f"{file['name']}: {found['name']}, {file['bytes']:,} bytes",
        f"  made by    {file['producer'] or 'unknown'}; opsets {opsets}",
        f"  input      {given['name']} {given['shape']}, {steps} time step{'s' * (steps != 1)}, "
        + _quantizer(given["quantizer"]),
        f"  shown      {_preprocessing(given['preprocessing'])}",
        f"  output     {found['output']['name']} {found['output']['shape']}",
        "",
    ]
    rows: list[tuple[str, ...]] = [
        ("layer", "kind", "output", "bits", "neurons", "parameters", "MACs", "runs")
    ]
    rows += [_row(layer, found["refused"] is not None) for layer in found["layers"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    bits = found["average_bits"]
    lines += [
        "",
        f"{found['parameters']:,} parameters"
        + ("" if bits is None else f" of {bits:.2f} bits on average")
        + f", {found['multiply_accumulates']:,} multiply-accumulates a run",
    ]
    lines += [f"plain loops: {k['name']} ({k['op']}): {k['why']}" for k in found["plain_kernels"]]
    if found["refused"]:
        lines.append(f"not compiled: {found['refused']}")
    return "\n".join(lines)


def _quantizer(quantizer: dict | None) -> str:
    if quantizer is None:
        return "no quantizer"
    sign = "signed" if quantizer["signed"] else "unsigned"
    scale = quantizer["scale"]
    return f"{quantizer['bits']} bits {sign}" + ("" if scale is None else f", scale {scale:g}")


def _preprocessing(said: dict | None) -> str:
    return "as it is" if said is None else ", ".join(f"{k} {v}" for k, v in said.items())


def _row(layer: dict, refused: bool) -> tuple[str, ...]:
    neurons = layer["neurons"]
    scheme = f"{layer['bits']} {layer['scheme']}" if layer["bits"] else "-"
    if refused:
        runs = "-"
    elif layer["plain"]:
        runs = f"plain ({layer['kernel']})"
    else:
        runs = f"fast ({layer['kernel']})" if layer["kernel"] else "no kernel of its own"
    return (
        layer["name"],
        layer["kind"],
        "x".join(map(str, layer["shape"])),
        scheme,
        _neurons(neurons),
        f"{layer['parameters']:,}" if layer["parameters"] else "-",
        f"{layer['multiply_accumulates']:,}",
        runs,
    )


def _neurons(neurons: dict | None) -> str:
    if neurons is None:
        return "-"
    tau = f"{neurons['op']} tau {neurons['tau']:g}"
    if "levels" in neurons:
        return f"{tau}, {neurons['levels']} levels"
    return f"{tau}, {'soft' if neurons['soft_reset'] else 'hard'} reset"
