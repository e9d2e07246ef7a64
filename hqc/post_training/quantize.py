"""From a float model and recordings to a quantized model: what `hqc quantize` does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.data.recordings import (
    PREPROCESSING,
    Frames,
    Preprocessing,
    Recordings,
    preprocessing_of,
)
from hqc.dialect import attach_functions
from hqc.energy import estimate
from hqc.energy.count_model import count_model
from hqc.errors import UserError
from hqc.frontend.input_quantizer import quantize_input
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.passes import parse_pipeline, run_passes
from hqc.post_training.folder import Folder
from hqc.post_training.method import find_method
from hqc.post_training.network import Choice, Layer, bits_of
from hqc.post_training.onnx_network import OnnxNetwork, classes_of, float_layers, spread
from hqc.post_training.remembered import CANDIDATES, Remembered
from hqc.post_training.search import Search
from hqc.post_training.space import Space, uniform_space
from hqc.search.results import CONFIG, RECIPE, RESULT
from hqc.targets import load_profile

WEIGHTS, SENSITIVITY = "weights.svg", "sensitivity.svg"
_OURS = {CONFIG, RECIPE, RESULT, CANDIDATES, WEIGHTS, SENSITIVITY}

_FEW = 20
"""Recordings that drift and operations are measured on."""


@dataclass(frozen=True)
class Asked:
    """How to quantize.

    `method` chooses among `choices` (none: the method's own) for every layer but those whose
    choice `keep` fixes by glob. Scales are one for each output channel with `per` "channel", one a
    layer with "tensor". `tolerance` is the accuracy that greedy and beam may lose, `beam` how many
    assignments the latter keeps. Of the recordings at most `limit` are read, and candidates
    measured on `measure` of these. `input_scale` is that of the input's quantizer, if it gets one.
    `profile` names the energy profile.
    """

    method: str = "qsvit"
    choices: tuple[Choice, ...] = ()
    keep: Mapping[str, Choice] = field(default_factory=dict)
    per: str = "channel"
    tolerance: float = 0.01
    beam: int = 4
    limit: int = 1000
    measure: int = 200
    input_scale: float | None = None
    profile: str = "spikehq"


def quantize(
    path: Path,
    output: Path,
    data: Path,
    asked: Asked,
    *,
    bind: Mapping[str, int] | None = None,
    preprocessing: Preprocessing | None = None,
    run: Path | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Choose the bits of every float layer of a model, write it quantized, and say what was found.

    Accuracy is counted on the recordings: those classified right where all have a label, else those
    of the class that the float network says. `run` is the folder of the search, which is made; a
    finished one is replaced. Raises `UserError`, before anything is written.
    """
    run = run or output.with_name(f"{output.stem}.quantize")
    _check_output(path, output)
    method, profile = find_method(asked.method), load_profile(asked.profile)
    model = load_model(path, bind)
    shape = model.graph.inputs[0].shape.numpy()
    if preprocessing is not None:
        model.metadata_props[PREPROCESSING] = json.dumps(preprocessing.of(shape))
    model = run_passes(model, parse_pipeline("fold-constants"))
    space = _space(path, model, asked, method.choices)
    recordings = Recordings(data, shape, preprocessing_of(model.metadata_props), asked.limit)
    labels = _labels(data, recordings, model)
    replaced = _finished(run) and not resume

    def ran(number: int) -> None:
        progress(f"run the float network: {number + 1}/{len(recordings)}")

    float_classes = classes_of(model, recordings, ran)
    truth = float_classes if labels is None else labels
    progress("scale of the input")
    quantize_input(model, Frames(recordings), asked.input_scale)
    attach_functions(model)

    config = {
        "model": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "data": str(data), "recordings": len(recordings), "classes": _digest(float_classes, truth),
        **asdict(asked), "choices": list(asked.choices), "bind": dict(bind or {}),
        "preprocessing": preprocessing and asdict(preprocessing),
    }  # fmt: skip
    if replaced:
        for name in _OURS:
            (run / name).unlink(missing_ok=True)
    folder = Folder(run, json.loads(json.dumps(config)), resume=resume, progress=progress)
    network = OnnxNetwork(
        model,
        recordings,
        truth=truth,
        float_classes=float_classes,
        measured=spread(len(recordings), asked.measure),
        watched=spread(len(recordings), _FEW),
        per_channel=asked.per == "channel",
    )
    measured = Remembered(network, folder.path / CANDIDATES)
    search = Search(measured, space, tolerance=asked.tolerance, beam=asked.beam, progress=progress)
    try:
        found = method.choose(search)
    except KeyboardInterrupt:
        raise UserError(
            f"interrupted; {run} holds every candidate that was measured",
            hint="go on with the same command and --resume",
        ) from None
    result = network.finish(found.recipe, **found.about)

    def compared(number: int) -> None:
        progress(f"run the quantized network: {number + 1}/{len(recordings)}")

    classes = classes_of(model, recordings, compared)
    progress("count operations")
    few = (recordings[i].frames for i in spread(len(recordings), _FEW))
    cost = estimate(*count_model(model, few), profile, int(shape[0])).as_dict()
    result |= {
        "file": str(output),
        "run": str(run),
        "method": asked.method,
        "per": asked.per,
        "counted": "agreement" if labels is None else "labels",
        "recordings": len(recordings),
        "measured": min(asked.measure, len(recordings)),
        "accuracy": float((classes == truth).mean()),
        "float_accuracy": float((float_classes == truth).mean()),
        "average_bits": cost["average_bits"],
        "storage_ratio": cost["storage_ratio"],
        "energy_ratio": cost["energy_ratio"],
        "profile": profile.name,
        "layers": [_described(layer, result) for layer in network.layers.values()],
    }
    progress("draw pictures")
    result["pictures"] = _draw(folder, network, result)
    save_model(model, output)
    folder.write_json(RECIPE, found.recipe)
    folder.write_json(RESULT, result)
    return result


def _check_output(path: Path, output: Path) -> None:
    if output.is_dir():
        raise UserError(f"--output {output} is a folder", hint="give a file, e.g. -o model.onnx")
    if output.exists() and path.exists() and output.samefile(path):
        raise UserError(
            f"--output {output} is the model itself", hint="keep the floats: write another file"
        )


def _space(path: Path, model: ir.Model, asked: Asked, defaults: tuple[Choice, ...]) -> Space:
    layers = float_layers(model)
    if not layers:
        raise UserError(
            f"{path} has no convolution or linear layer with float weights",
            hint="is it quantized already? then hqc compile takes it",
        )
    return uniform_space(layers, asked.choices or defaults, asked.keep)


def _labels(data: Path, recordings: Recordings, model: ir.Model) -> np.ndarray | None:
    """The class of every recording, None where one has none. Raises `UserError`."""
    classes = model.graph.outputs[0].shape.numpy()[-1]
    for number, label in enumerate(recordings.labels):
        if label is not None and not 0 <= label < classes:
            raise UserError(
                f"{data}: the label of recording {number + 1} is {label}, and the model has "
                f"{classes} classes",
                hint=f"labels are 0 to {classes - 1}: the y of a .npz, or the name of the folder "
                "that a file is in where it is a number",
            )
    if None in recordings.labels:
        return None
    return np.array(recordings.labels)


def _finished(run: Path) -> bool:
    """Whether a folder holds a finished search and nothing else."""
    names = {p.name for p in run.iterdir()} if run.is_dir() else set()
    return RESULT in names and names <= _OURS


def _digest(*arrays: np.ndarray) -> str:
    """What tells recordings from others: the classes that they are of."""
    return hashlib.sha256(b"".join(a.astype(np.int64).tobytes() for a in arrays)).hexdigest()


def _described(layer: Layer, result: dict) -> dict:
    choice = result["choices"][layer.name]
    return {
        "name": layer.name,
        "kind": layer.kind,
        "weights": layer.weights.size,
        "bits": bits_of(choice),
        "scheme": "uniform",
        "drop_alone": result.get("sensitivity", {}).get(layer.name, {}).get(choice),
    }


def _draw(folder: Folder, network: OnnxNetwork, result: dict) -> bool:
    """Draw the search's pictures; False where there is no matplotlib."""
    try:
        from hqc.search.plots import draw_sensitivity, draw_weights
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return False
    recipe = result["choices"]
    before = {name: layer.weights.ravel() for name, layer in network.layers.items()}
    after = {name: weights.ravel() for name, weights in network.rounded(recipe).items()}
    folder.draw(WEIGHTS, draw_weights, before, after, recipe)
    if "sensitivity" in result:
        folder.draw(SENSITIVITY, draw_sensitivity, result["sensitivity"])
    return True
