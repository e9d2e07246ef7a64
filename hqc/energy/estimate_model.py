"""From an ONNX file to its energy estimate: recordings, measured or assumed firing rates."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

import onnx_ir as ir

from hqc.data.recordings import preprocessing_of, read_recordings, sample_beside
from hqc.data.synthetic import sparse_frames
from hqc.energy.count_model import count_model
from hqc.energy.estimate import Estimate, estimate
from hqc.errors import UserError
from hqc.targets import EnergyProfile

MEASURED = "measured"


def parse_rates(text: str) -> float | None:
    """`measured` as None, `uniform=0.15` as its number. Raises `UserError`."""
    if text == MEASURED:
        return None
    kind, _, number = text.partition("=")
    try:
        rate = float(number)
    except ValueError:
        rate = -1.0
    if kind != "uniform" or not 0 <= rate <= 1:
        raise UserError(
            f"--rates {text!r} is no rate", hint="say measured, or e.g. uniform=0.15, from 0 to 1"
        )
    return rate


def estimate_model(
    model: ir.Model,
    path: str | PathLike[str],
    profile: EnergyProfile,
    *,
    data: str | PathLike[str] | None = None,
    rates: str = MEASURED,
    progress: Callable[[str], None] = lambda text: None,
) -> Estimate:
    """The energy of a dialect model, read from `path`, by a profile.

    Rates are measured on the recordings of `data`, failing that on the sample beside the model;
    with `rates="uniform=R"` every layer of spikes fires at R. Raises `UserError` without either.
    """
    rate = parse_rates(rates)
    shape = model.graph.inputs[0].shape.numpy()
    source = data or sample_beside(path)
    if rate is not None:
        frames = sparse_frames(shape, 1)
    elif source is None:
        raise UserError(
            f"there are no recordings to measure the firing rates of {path} on",
            hint="name some with --data, or assume rates with --rates uniform=0.15",
        )
    else:
        preprocessing = preprocessing_of(model.metadata_props)
        frames = [r.frames for r in read_recordings(source, shape, preprocessing)]
    progress("count operations")
    counts, precisions = count_model(model, frames)
    if not precisions:
        raise UserError(f"{path} has no convolution or linear layer", hint="is it a dialect model?")
    if rate is not None:
        counts = [layer.at_rate(rate) for layer in counts]
    return estimate(counts, precisions, profile, int(shape[0]))
