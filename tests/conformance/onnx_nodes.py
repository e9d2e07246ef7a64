"""`python -m tests.conformance.onnx_nodes`: onnx's own tests of its ops, through compiled code.

A test of onnx is a model of one node or few, its inputs and what it gives. Here its first input, or
all of its inputs, are frames behind a quantizer, the others constants; compiled code is to give
what onnx's own evaluator gives for the frames as they are quantized. Each is right, refused, or
wrong. What is no test for hqc, since its inputs are not floats, is left out.
"""

from __future__ import annotations

import math
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import hqc
from hqc.dialect import DIALECT, OPSET
from hqc.errors import OwnError, UserError
from hqc.frontend.load import load_model

_LARGEST = 127
"""The greatest code of a frame."""

_TOLERANCE = 1e-5
"""Of the largest number: outputs have 24 bits below what they can reach."""

_MOST = 40_000
"""Numbers of an input: some tests are of sizes that only take time."""


@dataclass(frozen=True)
class Case:
    """A test of onnx: the graph, and its inputs by name."""

    name: str
    graph: onnx.GraphProto
    inputs: dict[str, np.ndarray]


def cases() -> Iterator[Case]:
    """Tests whose first input is in floats, and whose ops are of an opset that hqc reads."""
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = loader.load_model_tests(kind="node")
    for test in found:
        graph = test.model.graph
        given = [_array(x) for x in test.data_sets[0][0]] if test.data_sets else []
        if not given or any(x is None for x in given) or len(graph.output) != 1:
            continue
        first, out = given[0], graph.output[0].type.tensor_type
        if first.dtype != np.float32 or not first.ndim or not 0 < first.size <= _MOST:
            continue
        if out.elem_type != TensorProto.FLOAT or any(node.domain for node in graph.node):
            continue
        names = [value.name for value in graph.input]
        yield Case(test.name, graph, dict(zip(names, given, strict=True)))


def _array(x: object) -> np.ndarray | None:
    if isinstance(x, TensorProto):
        return numpy_helper.to_array(x)
    return np.asarray(x) if isinstance(x, np.ndarray | np.generic) else None


def outcome(case: Case, folder: Path) -> str:
    """Whether it is "right", or why it is refused. Raises `AssertionError` for wrong code."""
    reasons = []
    for model, frames, expected in _with_frames(case):
        path = folder / "node.onnx"
        onnx.save(model, path)
        try:
            load_model(path)
            logits = hqc.compile(path, target="host", output=folder / "build").run(frames)
        except UserError as error:
            reasons.append(str(error).partition("\n")[0].replace(str(path), "it"))
            continue
        largest = np.abs(expected).max(initial=0)
        np.testing.assert_allclose(
            logits.reshape(expected.shape), expected, rtol=0, atol=_TOLERANCE * largest
        )
        return "right"
    return "; or ".join(reasons) or "there is no way to give it frames"


def _with_frames(case: Case) -> Iterator[tuple[onnx.ModelProto, np.ndarray, np.ndarray]]:
    """Models that give the test's inputs from frames in a few ways, frames and what they give."""
    floats = [name for name, x in case.inputs.items() if x.dtype == np.float32 and x.size]
    for given in dict.fromkeys(((floats[0],), tuple(floats))):
        scale = np.float32(max(np.abs(case.inputs[n]).max() for n in given) / _LARGEST or 1)
        inputs = dict(case.inputs)
        for name in given:
            inputs[name] = np.round(inputs[name] / scale) * scale
        try:
            plain = _model(case, list(case.graph.input), [], list(case.graph.node), [])
            (expected,) = ReferenceEvaluator(plain).run(None, inputs)
        except Exception:  # of a newer opset, or an op that the evaluator does not have
            return
        if not np.isfinite(expected).all():
            return
        for shape in _frame_shapes(inputs[floats[0]].shape) if len(given) == 1 else [None]:
            yield _shown(case, given, inputs, shape, scale), _frames(given, inputs, shape), expected


def _frame_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Frames [T, 1, C, H, W]: the first axis is time, or the last two are an image, or neither."""
    found = [(1, 1, math.prod(shape), 1, 1)]
    if len(shape) > 2:
        found.insert(0, (1, 1, math.prod(shape[:-2]), *shape[-2:]))
    if 2 <= len(shape) <= 4:
        channels, *image = shape[1:]
        found.insert(0, (shape[0], 1, channels, *[1] * (2 - len(image)), *image))
    return list(dict.fromkeys(found))


def _frames(given: tuple[str, ...], inputs: dict, shape: tuple[int, ...] | None) -> np.ndarray:
    all_ = np.concatenate([inputs[name].reshape(-1) for name in given]).astype(np.float32)
    return all_.reshape(shape or (1, 1, all_.size, 1, 1))


def _shown(
    case: Case,
    given: tuple[str, ...],
    inputs: dict[str, np.ndarray],
    shape: tuple[int, ...] | None,
    scale: np.float32,
) -> onnx.ModelProto:
    """The model, whose `given` inputs are one after the other in frames of that shape."""
    frames = _frames(given, inputs, shape)
    constants = {"frames_scale": scale.reshape(1)}
    nodes = [
        helper.make_node(
            "QuantUniform",
            ["frames", "frames_scale"],
            ["frames_quantized"],
            domain=DIALECT,
            bits=8,
            signed=1,
            narrow=1,
            axis=0,
        )
    ]
    start = 0
    for name in given:
        part, size = "frames_quantized", inputs[name].size
        if len(given) > 1:
            part = f"{name}_part"
            bounds = {f"{part}_{i}": np.array([n]) for i, n in enumerate((start, start + size, 2))}
            constants |= bounds
            nodes.append(helper.make_node("Slice", ["frames_quantized", *bounds], [part]))
        constants[f"{name}_shape"] = np.array(inputs[name].shape, np.int64)
        nodes.append(helper.make_node("Reshape", [part, f"{name}_shape"], [name]))
        start += size
    constants |= {name: x for name, x in inputs.items() if name not in given}
    value = helper.make_tensor_value_info("frames", TensorProto.FLOAT, frames.shape)
    kept = [numpy_helper.from_array(x, name) for name, x in constants.items()]
    return _model(case, [value], nodes, list(case.graph.node), kept)


def _model(case: Case, inputs: list, before: list, nodes: list, constants: list) -> onnx.ModelProto:
    graph = helper.make_graph(
        [*before, *nodes], case.name, inputs, list(case.graph.output), constants
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DIALECT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--refused", "show", is_flag=True, help="Print why tests are refused.")
def main(names: tuple[str, ...], show: bool) -> None:
    """Run the tests NAMES, or all, and print which are right and how many."""
    found: Counter[str] = Counter()
    right = []
    for case in cases():
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                result = outcome(case, Path(folder))
            except (AssertionError, OwnError) as error:
                result = f"wrong: {error}"
        kind = result.partition(":")[0] if result.startswith(("right", "wrong")) else "refused"
        found[kind] += 1
        if kind == "right":
            right.append(case.name)
        elif kind == "wrong" or show:
            click.echo(f"{case.name}: {result}")
    for name in right:
        click.echo(name)
    click.echo(", ".join(f"{count} {kind}" for kind, count in found.most_common()))
    sys.exit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
