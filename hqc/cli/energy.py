"""hqc energy."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click

from hqc.cli.application import Output, bind_option, cli, output_options


def complete_profiles(_context: object, _parameter: object, incomplete: str) -> list[str]:
    """Names of energy profiles, for shells that complete."""
    from hqc.targets import profile_names

    return [name for name in profile_names() if name.startswith(incomplete)]


profile_option = click.option(
    "--profile",
    default="horowitz-45nm",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_profiles,
    help="Energy profile, or a .hqt file.",
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Recordings to measure rates on (default: the folder `sample` beside the model).",
)
rates_option = click.option(
    "--rates",
    default="measured",
    show_default=True,
    metavar="measured|uniform=R",
    help="Firing rates: measured on recordings, or one for all layers.",
)


@cli.command("energy")
@click.argument("model", type=click.Path(path_type=Path))
@profile_option
@data_option
@rates_option
@click.option("--compare", type=click.Path(path_type=Path), help="Another model, beside this one.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the layers as CSV.")
@bind_option
@output_options
def energy(
    out: Output,
    model: Path,
    profile: str,
    data: Path | None,
    rates: str,
    compare: Path | None,
    as_csv: bool,
    bind: dict[str, int],
) -> None:
    """Estimate the energy of an inference of MODEL, an ONNX file, by layer and group.

    Operations are counted on recordings; what each takes is in the profile, a .hqt file that
    `hqc targets show` prints. Ratios are those of the same network in fp32 over this one.

    \b
    Examples:
      hqc energy model.onnx
      hqc energy model.onnx --profile spikehq --rates uniform=0.15 --json
      hqc energy model.onnx --compare fp32.onnx
    """
    from hqc.energy.estimate_model import estimate_model
    from hqc.frontend.load import load_model
    from hqc.targets import load_profile

    chosen = load_profile(profile)
    found = {
        path: estimate_model(
            load_model(path, bind),
            path,
            chosen,
            data=data,
            rates=rates,
            progress=out.progress,
        )
        for path in (model, compare)
        if path is not None
    }
    first = found[model]
    result = first.as_dict()
    if compare is not None:
        result["compare"] = found[compare].as_dict()
    if as_csv:
        text = _csv(result["layers"])
    elif compare is not None:
        text = _comparison(result, result["compare"], str(model), str(compare))
    else:
        text = _table(result, chosen)
    out.result(result, text)


def _table(result: dict, profile) -> str:
    width = max(len(x["name"]) for x in result["layers"])
    lines = [
        f"{'layer':{width}}  bits  rate   operations  storage B   energy nJ     fp32 nJ   share"
    ]
    for layer in result["layers"]:
        rate = "" if layer["rate"] is None else f"{layer['rate']:.3f}"
        lines.append(
            f"{layer['name']:{width}}  {layer['precision'] or '':4}  {rate:5} "
            f"{layer['operations']:12,.0f}  {layer['storage_bytes']:9,.0f}  "
            f"{layer['energy_pj'] / 1e3:10,.1f}  {layer['fp32_energy_pj'] / 1e3:10,.1f}  "
            f"{layer['energy_pj'] / result['energy_pj']:6.1%}"
        )
    lines.append("")
    for name, group in result["groups"].items():
        shown = f"  {name}" if "." in name else name
        lines.append(
            f"{shown:{width}}  {'':4}  {'':5} {'':12}  {group['storage_bytes']:9,.0f}  "
            f"{group['energy_pj'] / 1e3:10,.1f}  {group['fp32_energy_pj'] / 1e3:10,.1f}  "
            f"{group['energy_pj'] / result['energy_pj']:6.1%}"
        )
    lines += [
        "",
        f"{result['energy_pj'] / 1e3:,.1f} nJ an inference by {profile.name}, "
        f"{result['energy_ratio']:.2f}x less than fp32",
        f"{result['average_bits']:.2f} bits a weight, "
        f"{result['storage_ratio']:.2f}x less storage than fp32",
    ]
    terms: dict[str, float] = {}
    for layer in result["layers"]:
        for term, energy_pj in layer["terms_pj"].items():
            terms[term] = terms.get(term, 0.0) + energy_pj
    if len(terms) > 1:
        shares = ", ".join(f"{t} {e / result['energy_pj']:.0%}" for t, e in terms.items())
        lines.append(f"of it {shares}")
    return "\n".join([*lines, *(f"note: {note}" for note in profile.open)])


def _comparison(result: dict, other: dict, name: str, other_name: str) -> str:
    rows = [("", name, other_name, "ratio")]
    for label, key, scale in (
        ("bits a weight", "average_bits", 1),
        ("energy nJ", "energy_pj", 1e3),
    ):
        a, b = result[key] / scale, other[key] / scale
        rows.append((label, f"{a:,.2f}", f"{b:,.2f}", f"{b / a:.2f}x"))
    for group in result["groups"]:
        if group in other["groups"]:
            a, b = (x["groups"][group]["energy_pj"] / 1e3 for x in (result, other))
            ratio = f"{b / a:.2f}x" if a else ""
            rows.append((f"  {group} nJ", f"{a:,.2f}", f"{b:,.2f}", ratio))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
        for a, b, c, d in rows
    )


def _csv(layers: list[dict]) -> str:
    """One line a layer; lists are left out, terms are columns."""
    rows = [
        {k: v for k, v in layer.items() if not isinstance(v, list | dict)}
        | {f"{term}_pj": e for term, e in layer["terms_pj"].items()}
        for layer in layers
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")
