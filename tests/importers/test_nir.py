"""NIR graphs against other libraries that execute them, and their own networks written as NIR."""

from __future__ import annotations

import subprocess
import sys

import h5py
import nir
import norse.torch as norse
import numpy as np
import pytest
import sinabs
import sinabs.layers as sl
import sinabs.nir
import snntorch as snn
import torch
from snntorch import utils
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from torch import nn

import hqc
from hqc.codegen.toolchain import Toolchain
from hqc.data.events import events_to_frames, read_events
from hqc.data.recordings import Recording
from hqc.dialect import attach_functions
from hqc.errors import UserError
from hqc.execution import execute, link_runner
from hqc.frontend.input_quantizer import quantize_input
from hqc.frontend.save import save_model
from hqc.importers.nir import builder
from hqc.importers.nir.builder import LONGEST
from hqc.importers.nir.conventions import QUANTIZER
from hqc.targets import load_target
from tests.conftest import HQC, NMNIST, needs_compiler
from tests.importers.nir_graphs import (
    DT,
    by_nirtorch,
    by_norse,
    chain,
    imported,
    logits_of,
    written,
)

T, N = 6, 9
IMAGE = (3, 5, 7)


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def each(number, *shape):
    return np.full(shape, number, np.float32)


def conv(weight, stride=1, padding=0, dilation=1, groups=1):
    bias = drawn(weight.shape[0], seed=1)
    return nir.Conv2d(IMAGE[1:], weight, stride, padding, dilation, groups, bias)


def pool(make, window, stride, padding=(0, 0)):
    return make(*(np.array(n) for n in (window, stride, padding)))


def lif(shape, tau=2.0, r=1.0, leak=0.0, level=0.4, reset=0.0):
    settings = (tau * DT, r, leak, level, reset)
    return nir.LIF(*(np.broadcast_to(np.float32(s), shape).copy() for s in settings))


def sure(a):
    return 0.5 + np.abs(a)


NODES = {
    "affine": ((N,), nir.Affine(drawn(4, N), drawn(4))),
    "affine of rows": ((3, N), nir.Affine(drawn(4, N), drawn(4))),
    "linear": ((N,), nir.Linear(drawn(4, N))),
    "conv": (IMAGE, conv(drawn(6, 3, 3, 2), (2, 1), (1, 1), (1, 2))),
    "conv same": (IMAGE, conv(drawn(6, 3, 2, 4), padding="same")),
    "conv valid": (IMAGE, conv(drawn(6, 3, 2, 4), padding="valid")),
    "conv groups": ((4, 5, 7), conv(drawn(6, 2, 3, 3), groups=2)),
    "conv1d": ((3, 11), nir.Conv1d(11, drawn(6, 3, 4), 2, 1, 2, 1, drawn(6))),
    "sum pool": (IMAGE, pool(nir.SumPool2d, (2, 3), (1, 2))),
    "avg pool": (IMAGE, pool(nir.AvgPool2d, (3, 2), (2, 2), (1, 1))),
    "scale": (IMAGE, nir.Scale(drawn(*IMAGE))),
    "flatten": (IMAGE, nir.Flatten({"input": np.array(IMAGE)}, 0, -1)),
    "flatten some": (IMAGE, nir.Flatten({"input": np.array(IMAGE)}, 1, 2)),
    "threshold": (IMAGE, nir.Threshold(each(0.3, *IMAGE))),
    "thresholds": (IMAGE, nir.Threshold(drawn(*IMAGE))),
    "if": (IMAGE, nir.IF(each(1, *IMAGE), each(1, *IMAGE))),
    "if each": (IMAGE, nir.IF(drawn(*IMAGE), sure(drawn(*IMAGE, seed=1)))),
    "if reset": ((N,), nir.IF(each(2, N), each(1, N), each(-0.25, N))),
    "lif": (IMAGE, lif(IMAGE)),
    "lif gain": (IMAGE, lif(IMAGE, r=2.0)),
    "lif fast": (IMAGE, lif(IMAGE, tau=1.0)),
    "lif slow": ((N,), lif((N,), tau=37.3, r=20.0)),
    "lif leak": ((N,), lif((N,), 5.0, 3.0, 0.25, 1.0, 0.125)),
    "lif each": (IMAGE, lif(IMAGE, 3.0, 3 * drawn(*IMAGE), 0.0, sure(drawn(*IMAGE, seed=1)))),
    "lif channel": (IMAGE, lif(IMAGE, 3.0, 2.0, 0.0, sure(drawn(3, 1, 1)))),
    "li": ((N,), nir.LI(each(3 * DT, N), drawn(N), drawn(N, seed=1))),
    "i": ((N,), nir.I(drawn(N))),
    "cuba li": ((N,), nir.CubaLI(each(3 * DT, N), each(5 * DT, N), drawn(N), drawn(N, seed=1))),
    "delay": ((N,), nir.Delay(each(2 * DT, N))),
    "no delay": ((N,), nir.Delay(each(0, N))),
}

BY_NORSE = {
    **{name: NODES[name] for name in ("affine", "linear", "conv", "conv same", "conv groups")},
    **{name: NODES[name] for name in ("sum pool", "flatten", "flatten some", "if", "lif")},
    "cuba lif": (
        IMAGE,
        nir.CubaLIF(*(each(n, *IMAGE) for n in (3 * DT, 4 * DT, 2, 0, 0.3, 0, 2))),
    ),
    "cuba lif fast": (
        (N,),
        nir.CubaLIF(*(each(n, N) for n in (DT, 4 * DT, 2, 0, 0.3, 0, 2))),
    ),
}
"""Nodes that norse's own import takes as they are: it leaves out r, v_reset and other nodes."""


def compared(graph, outputs, path, frames, expected):
    """Of every number of time steps, so that every step's values count."""
    written(graph, path, {"output": outputs})
    for steps in range(1, len(frames) + 1):
        (found,) = logits_of(imported(path, steps), frames[:steps])
        wanted = expected[:steps].sum(0).reshape(1, -1)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected) > 0.1, "it says nothing"


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_what_nirtorch_makes_of_it(name, tmp_path):
    shape, node = NODES[name]
    graph, frames = chain(shape, node=node), drawn(T, *shape, seed=2) + 0.3
    expected = by_nirtorch(graph, frames)
    compared(graph, expected.shape[1:], tmp_path / "net.nir", frames, expected)


@pytest.mark.parametrize("name", BY_NORSE)
def test_a_node_is_what_norse_makes_of_it(name, tmp_path):
    shape, node = BY_NORSE[name]
    graph, frames = chain(shape, node=node), drawn(T, *shape, seed=3) + 0.3
    expected = by_norse(graph, frames)
    compared(graph, expected.shape[1:], tmp_path / "net.nir", frames, expected)


def test_neurons_are_what_snntorch_makes_of_them(tmp_path):
    """Its import has time steps of 1e-4 s, which are hqc's where nobody says."""
    nodes = {
        "conv": conv(drawn(4, 3, 3, 3)),
        "lif": nir.LIF(*(each(n, 4, 3, 5) for n in (3e-4, 3.0, 0.0, 0.5))),
        "pool": pool(nir.AvgPool2d, (2, 2), (1, 2)),
        "flat": nir.Flatten({"input": np.array([4, 2, 2])}, 0, -1),
        "head": nir.Linear(drawn(5, 16)),
        "out": nir.CubaLIF(*(each(n, 5) for n in (2e-4, 4e-4, 4.0, 0.0, 0.7, 0.0, 2.0))),
    }
    graph, frames = chain(IMAGE, **nodes), drawn(T, *IMAGE, seed=4) + 0.3
    path = written(graph, tmp_path / "net.nir", {"output": (5,)})
    theirs = import_from_nir(nir.read(path))
    state, expected = None, []
    for x in torch.from_numpy(frames):
        with torch.no_grad():
            # torch's Flatten(0, -1) of a batch takes that, too
            y, state = theirs(x, state) if state is not None else theirs(x)
        expected.append(y.numpy().reshape(-1))
    (found,) = logits_of(imported(path, T, dt=1e-4), frames)
    np.testing.assert_array_equal(found[0], np.sum(expected, 0))
    assert 0 < np.sum(expected) < 5 * T


def test_neurons_that_subtract_are_what_sinabs_makes_of_them(tmp_path):
    """Its neurons fire as often as fits in a step; inputs here are below every threshold."""
    nodes = {
        "pool": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "first": nir.IF(each(1, 3, 2, 3), each(2.5, 3, 2, 3)),
        "flat": nir.Flatten({"input": np.array([3, 2, 3])}, 0, -1),
        "head": nir.Linear(np.abs(drawn(5, 18)) / 18),
        "out": nir.IF(each(1, 5), each(1.1, 5)),
    }
    graph = chain(IMAGE, **nodes)
    frames = np.random.default_rng(5).uniform(size=(50, *IMAGE)).astype(np.float32)
    path = written(graph, tmp_path / "net.nir", {"output": (5,)})
    loaded = nir.read(path, type_check=False)
    for node in loaded.nodes.values():
        if isinstance(node, nir.IF):
            node.v_threshold = torch.from_numpy(node.v_threshold)
        if isinstance(node, nir.Linear):  # which sinabs does not import
            node.bias = np.zeros(5, np.float32)
            node.__class__ = nir.Affine
    theirs = sinabs.nir.from_nir(loaded, batch_size=1)
    with torch.no_grad():
        found = theirs(torch.from_numpy(frames))
    expected = (found[0] if isinstance(found, tuple) else found).numpy()
    assert set(np.unique(expected)) == {0, 1}
    (counts,) = logits_of(imported(path, 50, reset="subtract"), frames)
    np.testing.assert_array_equal(counts[0], expected.sum(0))
    (others,) = logits_of(imported(path, 50), frames)
    assert not np.array_equal(others, counts)


def compiled(path, steps, folder, dt=DT, reset=None, verified=True, bits=8):
    """An imported network of counts."""
    model = imported(path, steps, dt, reset)
    quantize_input(model, [], 1.0, bits)
    attach_functions(model)
    save_model(model, folder / "net.onnx")
    if verified:
        found = hqc.verify(folder / "net.onnx", "host")
        assert found.ok, found
    return hqc.compile(folder / "net.onnx", target="host", output=folder / "build")


@needs_compiler
@pytest.mark.parametrize("name", NODES)
def test_a_node_compiles_in_a_network(name, tmp_path):
    """Behind spikes, before a layer and neurons."""
    shape, node = NODES[name]
    zeros = np.zeros((1, *shape), np.float32)
    outputs = by_nirtorch(chain(shape, node=node), zeros).shape[1:]
    size = int(np.prod(outputs))
    nodes = {"before": nir.IF(each(1, *shape), each(1.5, *shape)), "node": node}
    if len(outputs) > 1:
        nodes["flat"] = nir.Flatten({"input": np.array(outputs)}, 0, -1)
    nodes["head"] = nir.Affine(drawn(4, size) / size**0.5, drawn(4))
    nodes["after"] = nir.IF(each(1, 4), each(0.6, 4))
    graph = chain(shape, **nodes)
    path = written(graph, tmp_path / "net.nir", {"output": (4,)})
    artifact = compiled(path, T, tmp_path, verified=False)
    frames = np.random.default_rng(6).integers(0, 3, (8, T, *shape)).astype(np.float32)
    wanted = [by_nirtorch(graph, x).sum(0) for x in frames]
    found = [artifact.run(x.reshape(artifact.manifest["input"]["shape"]))[0] for x in frames]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(wanted) > 0, "it says nothing"


@needs_compiler
def test_snntorch_networks_are_their_own(tmp_path):
    torch.manual_seed(0)
    settings = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False}
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        snn.Leaky(0.9 * torch.ones(4, 6, 6), threshold=0.3 * torch.ones(4, 6, 6), **settings),
        nn.AvgPool2d((2, 2)),
        nn.Flatten(),
        nn.Linear(36, 20),
        snn.Leaky(0.8 * torch.ones(20), threshold=0.1 * torch.ones(20), **settings),
        nn.Linear(20, 5),
        snn.Synaptic(
            0.7 * torch.ones(5), 0.5 * torch.ones(5), threshold=0.1 * torch.ones(5),
            output=True, **settings,
        ),
    )  # fmt: skip
    graph = export_to_nir(net, torch.rand(1, 2, 8, 8), ignore_dims=[0])
    path = written(graph, tmp_path / "net.nir", {})
    artifact = compiled(path, T, tmp_path, dt=1e-4)
    frames = torch.randint(0, 4, (8, T, 1, 2, 8, 8)).float()
    same(artifact, frames, lambda x: snntorch_counts(net, x))


def snntorch_counts(net, x):
    utils.reset(net)
    return sum(net(step)[0] for step in x)


def same(artifact, recordings, run):
    """Compiled code counts the spikes that a library's own network fires."""
    with torch.no_grad():
        expected = np.array([run(x).numpy().reshape(-1) for x in recordings])
    found = np.array([artifact.run(x.numpy())[0] for x in recordings])
    np.testing.assert_array_equal(found, expected)
    assert np.std(expected, 0).max() > 0.2


class Potentials(nn.Module):
    """Norse's layers of a chain, a step each, with their states."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = norse.SequentialState(*layers)

    def counts(self, frames):
        state, total = None, 0
        for x in frames:
            y, state = self.layers(x, state)
            total = total + y
        return total


@needs_compiler
@pytest.mark.parametrize(("written_by", "read_by"), [(1, 1e-3), (1e-3, 1e-6)])
def test_norse_networks_are_their_own(written_by, read_by, tmp_path):
    """norse 1.1 writes dt / tau_mem_inv for a time constant: with a dt of 1 these are seconds."""
    torch.manual_seed(1)
    level = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(300.0), v_th=torch.tensor(0.2))
    net = Potentials(
        nn.Conv2d(2, 4, 3, padding=1),
        norse.LIFBoxCell(level),
        nn.Conv2d(4, 3, (5, 7)),
        norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(0.5))),
    )
    graph = norse.to_nir(net.layers, torch.rand(1, 2, 5, 7), dt=written_by)
    path = written(graph, tmp_path / "net.nir", {"0": (5, 7), "2": (5, 7)})
    artifact = compiled(path, T, tmp_path, dt=read_by)
    same(artifact, torch.randint(0, 3, (8, T, 1, 2, 5, 7)).float(), net.counts)


@needs_compiler
def test_norse_currents_are_their_own_with_the_gain_that_norse_leaves_out(tmp_path):
    """A current takes all of its input, which NIR's equation divides by tau_syn, in time steps."""
    torch.manual_seed(1)
    net = Potentials(
        nn.Conv2d(2, 4, 3, padding=1),
        norse.LIFCell(),
        nn.Conv2d(4, 3, (5, 7)),
        norse.LIFCell(norse.LIFParameters(v_th=torch.tensor(0.3))),
    )
    for layer in (net.layers[0], net.layers[2]):
        layer.weight.data *= 5
    graph = norse.to_nir(net.layers, torch.rand(1, 2, 5, 7), dt=1)
    for node in graph.nodes.values():
        if isinstance(node, nir.CubaLIF):
            assert node.w_in == 1
            node.w_in = node.tau_syn / 1e-3
    path = written(graph, tmp_path / "net.nir", {"0": (5, 7), "2": (5, 7)})
    artifact = compiled(path, T, tmp_path, dt=1e-3)
    same(artifact, torch.randint(0, 3, (8, T, 1, 2, 5, 7)).float(), net.counts)


@needs_compiler
def test_sinabs_networks_are_their_own(tmp_path):
    """Neurons of one spike a step: files do not say how many may be fired, nor the reset."""
    torch.manual_seed(1)
    spiking = {"spike_fn": sinabs.activation.SingleSpike, "batch_size": 1}
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        sl.IAFSqueeze(spike_threshold=torch.tensor(1.25), **spiking),
        sl.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5),
        sl.IAFSqueeze(spike_threshold=torch.tensor(0.75), **spiking),
    )
    graph = sinabs.nir.to_nir(net, torch.rand(1, 2, 8, 8))
    shapes = {"0": (8, 8), "3": (4, 3, 3)}
    path = written(graph, tmp_path / "net.nir", shapes)
    artifact = compiled(path, T, tmp_path, reset="subtract")

    def counts(x):
        sinabs.reset_states(net)
        return net(x[:, 0]).sum(0)

    same(artifact, torch.randint(0, 3, (8, T, 1, 2, 8, 8)).float(), counts)


def test_branches_join_in_any_order_of_nodes_and_inside_of_graphs(tmp_path):
    shape = (4,)
    inner = nir.NIRGraph(
        {
            "out": nir.Output(np.array(shape)),
            "fire": nir.IF(each(1, 4), each(0.8, 4)),
            "in": nir.Input(np.array(shape)),
            "layer": nir.Affine(drawn(4, 4), drawn(4)),
        },
        [("fire", "out"), ("in", "layer"), ("layer", "fire")],
        type_check=False,
        metadata={"from": "a test"},
    )
    nodes = {
        "output": nir.Output(np.array([3])),
        "head": nir.Linear(drawn(3, 4)),
        "block": inner,
        "scale": nir.Scale(drawn(4)),
        "input": nir.Input(np.array(shape)),
    }
    edges = [
        *(("head", "output"), ("block", "head"), ("scale", "head"), ("input", "head")),
        *(("input", "scale"), ("input", "block")),
    ]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    frames = drawn(T, *shape) + 0.2
    expected = by_nirtorch(graph, frames)
    path = written(graph, tmp_path / "net.nir", {})
    model = imported(path, T)
    (found,) = logits_of(model, frames)
    np.testing.assert_allclose(found[0], expected.sum(0), rtol=1e-5)
    names = {node.name for node in model.graph}
    assert {"block.layer", "block.fire", "scale", "head", "output"} <= names
    assert model.metadata_props["nir.version"] == nir.version


def test_thresholds_are_strict(tmp_path):
    """At its threshold a neuron stays silent, just above it fires; also in units of others."""
    level = each(1, 4)
    for r in (each(1, 4), np.array([1, 2, 4, 0.5], np.float32)):
        path = written(chain((4,), n=nir.IF(r, level)), tmp_path / "net.nir", {"output": (4,)})
        (at,) = logits_of(imported(path, 1), level / r)
        (more,) = logits_of(imported(path, 1), np.nextafter(level, np.float32(2)) / r)
        assert (at.sum(), more.sum()) == (0, 4)


LONG = {
    "linear": {
        "pool": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "flat": nir.Flatten({"input": np.array([2, 17, 17])}, 1, -1),
        "hidden": nir.Linear(drawn(128, 578) / 20),
        "fire": nir.IF(each(1, 128), each(1, 128)),
    },
    "neurons of counts": {
        "pool": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "first": nir.IF(each(1, 2, 17, 17), each(1, 2, 17, 17)),
        "flat": nir.Flatten({"input": np.array([2, 17, 17])}, 1, -1),
        "hidden": nir.Linear(drawn(128, 578) / 4),
        "fire": nir.IF(each(1, 128), each(1, 128)),
    },
    "conv": {
        "pool": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "first": nir.IF(each(1, 2, 17, 17), each(1, 2, 17, 17)),
        "conv": nir.Conv2d((17, 17), drawn(8, 2, 3, 3) / 2, 1, 1, 1, 1, np.zeros(8, np.float32)),
        "second": nir.IF(each(1, 8, 17, 17), each(1, 8, 17, 17)),
        "pool again": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "fire": nir.IF(each(1, 8, 8, 8), each(2, 8, 8, 8)),
        "flat": nir.Flatten({"input": np.array([8, 8, 8])}, 1, -1),
    },
}
"""Networks on 2 x 34 x 34 counts, before their classifiers. Norse flattens behind the batch."""


@needs_compiler
@pytest.mark.parametrize("name", LONG)
def test_300_steps_of_1_ms_stream_in_little_memory(name, tmp_path):
    """As norse runs the graph, on recordings binned into 300 steps."""
    features = 512 if name == "conv" else 128
    ends = {
        "head": nir.Linear(drawn(10, features) / 4),
        "output neurons": nir.IF(each(1, 10), each(1, 10)),
    }
    graph = chain((2, 34, 34), **LONG[name], **ends)
    theirs = norse.from_nir(graph, ignore_warnings=True, dt=DT)
    graph.nodes["flat"].start_dim = 0
    path = written(graph, tmp_path / "net.nir", {"output": (10,)})
    artifact = compiled(path, 300, tmp_path, verified=False, bits=3)
    assert artifact.manifest["memory"]["stream_arena_bytes"] < 200_000

    files = sorted((NMNIST / "sample").rglob("*.bin"))
    assert len(files) == 100
    if name == "conv":  # it takes norse long
        files = files[::5]
    frames = [events_to_frames(read_events(file), 300, 34, 34)[:, None] for file in files]
    target = load_target("host")
    toolchain = Toolchain.of(target)
    runner = link_runner(toolchain, artifact.name, artifact.folder)
    counts = np.concatenate(
        [
            execute(target, runner, "stream", [Recording("", x.astype(np.float32))], 10)
            for x in frames
        ]
    )
    state, expected = None, 0
    with torch.no_grad():
        for x in torch.from_numpy(np.concatenate(frames, 1)).float():
            y, state = theirs(x, state) if state is not None else theirs(x)
            expected = expected + y.numpy()
    np.testing.assert_array_equal(counts.argmax(1), expected.argmax(1))
    assert (counts == expected).mean() > 0.95
    assert len(set(expected.argmax(1))) > 1


@needs_compiler
def test_compiled_neurons_do_not_fire_at_their_threshold(tmp_path):
    """Counts reach it often: of inputs that are whole numbers nothing is rounded over it."""
    graph = chain((4,), n=lif((4,), tau=2.0, r=2.0, level=1.0), m=nir.IF(each(1, 4), each(1, 4)))
    path = written(graph, tmp_path / "net.nir", {"output": (4,)})
    artifact = compiled(path, T, tmp_path)
    frames = np.random.default_rng(7).integers(0, 3, (16, T, 1, 4)).astype(np.float32)
    expected = [by_nirtorch(graph, x[:, 0]).sum(0) for x in frames]
    shape = artifact.manifest["input"]["shape"]
    np.testing.assert_array_equal([artifact.run(x.reshape(shape))[0] for x in frames], expected)
    assert np.ptp(expected) > 0


def test_a_readout_of_potentials_takes_any_number_of_steps(tmp_path):
    """Its potentials are added up by their weights, without a matrix of steps by steps."""
    nodes = {"head": nir.Linear(drawn(3, 4)), "li": nir.LI(each(9 * DT, 3), drawn(3), drawn(3))}
    graph, frames = chain((4,), **nodes), drawn(LONGEST + 5, 4)
    path = written(graph, tmp_path / "net.nir", {"output": (3,)})
    (found,) = logits_of(imported(path, len(frames)), frames)
    np.testing.assert_allclose(found[0], by_nirtorch(graph, frames).sum(0), rtol=1e-3, atol=1e-3)


def changed(**fields):
    """Norse's neurons with other numbers, as a graph."""
    node = lif((4,))
    for key, value in fields.items():
        setattr(node, key, np.asarray(value, np.float32))
    return chain((4,), n=node)


def cyclic():
    nodes = {"lif": lif((4,)), "rec": nir.Linear(drawn(4, 4))}
    graph = chain((4,), **nodes)
    graph.edges = [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")]
    return graph


def with_edges(*edges):
    graph = chain((4,), n=lif((4,)), m=lif((4,)))
    graph.edges = list(edges)
    return graph


def two_inputs():
    graph = chain((4,), n=lif((4,)))
    graph.nodes |= {"other": nir.Input(np.array([4])), "output": nir.Output(np.array([4]))}
    graph.edges.append(("other", "n"))
    return graph


def unequal():
    graph = chain((4,), n=nir.Linear(drawn(3, 4)))
    graph.edges.append(("input", "output"))
    return graph


def inner_of_two():
    graph = two_inputs()
    return nir.NIRGraph(
        {"input": nir.Input(np.array([4])), "block": graph, "output": nir.Output(np.array([4]))},
        [("input", "block"), ("block", "output")],
        type_check=False,
    )


def line(node, shape=(4,)):
    return chain(shape, n=node)


REFUSED = {
    "cycle": (cyclic, r"recurrent: 'lif' -> 'rec' -> 'lif'|recurrent: 'rec' -> 'lif' -> 'rec'"),
    "self": (
        lambda: with_edges(("input", "n"), ("n", "n"), ("n", "output")),
        "recurrent: 'n' -> 'n'",
    ),
    "nowhere": (lambda: with_edges(("input", "x"), ("n", "output")), "an edge names 'x'"),
    "dangling": (
        lambda: with_edges(("input", "n"), ("m", "output"), ("n", "output")),
        r"node 'm' \(LIF\): nothing leads to it",
    ),
    "inputs": (two_inputs, "2 nodes of type Input: 'input', 'other'"),
    "inner inputs": (inner_of_two, "graph 'block' has 2 nodes of type Input"),
    "unequal": (unequal, r"what leads to it has shapes \[3\] and \[4\]"),
    "tau": (lambda: changed(tau=[1, 2, 3, 4]), "its tau differs by neuron, from"),
    "fast": (lambda: changed(tau=each(DT / 2, 4)), "its tau is 0.5 time steps of 0.001 s"),
    "threshold": (lambda: changed(v_threshold=each(0, 4)), "its v_threshold is 0 above where"),
    "reset": (
        lambda: changed(v_reset=[0, 0, 0.1, 0.2]),
        "its v_reset is another part of v_threshold",
    ),
    "infinite": (lambda: changed(r=each(np.inf, 4)), "its r is not finite"),
    "shape": (lambda: line(lif((3,))), r"its tau is \[3\], and it reads \[4\]"),
    "output": (lambda: line(lif((4,))), r"its shape is \[9\], and \[4\] leads to it"),
    "weight": (lambda: line(nir.Linear(drawn(4, 3))), r"its weight is \[4, 3\], and it reads"),
    "bias": (lambda: line(nir.Affine(drawn(3, 4), drawn(4))), r"its bias is \[4\], not \[3\]"),
    "image": (lambda: line(conv(drawn(4, 3, 3, 3))), r"it reads \[4\], not \[C, H, W\]"),
    "groups": (
        lambda: line(conv(drawn(4, 3, 3, 3), groups=2), IMAGE),
        r"its weight is \[4, 3, 3, 3\] in 2 groups",
    ),
    "stride": (lambda: line(pool(nir.AvgPool2d, (2, 2), (0, 2)), IMAGE), "its stride is"),
    "same": (
        lambda: line(conv(drawn(4, 3, 3, 3), padding="same", stride=2), IMAGE),
        "its padding is 'same', its stride",
    ),
    "window": (
        lambda: line(pool(nir.SumPool2d, (9, 1), (1, 1)), IMAGE),
        r"its window of \[9, 1\] does not fit \[5, 7\]",
    ),
    "flatten": (
        lambda: line(nir.Flatten({"input": np.array([4])}, 2, 3)),
        r"axes 2 to 3 are none of \[4\]",
    ),
    "delay": (lambda: line(nir.Delay(each(DT * 1.5, 4))), "its delay is 1.5 to 1.5 time steps"),
    "rank": (lambda: chain((1, 2, 3, 4, 5), n=lif((5,))), r"its shape is \[1, 2, 3, 4, 5\]"),
    "no input shape": (lambda: chain((0,), n=lif((4,))), r"its shape is \[0\]"),
    "text": (lambda: chain((1.5,), n=lif((4,))), r"its shape is \[1.5\], no whole numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_lowered_is_refused_by_name(name, tmp_path):
    make, message = REFUSED[name]
    path = written(make(), tmp_path / "net.nir", {"output": (9,) if name == "output" else (4,)})
    with pytest.raises(UserError, match=message):
        imported(path, T)


def test_a_node_that_is_not_known_is_refused(tmp_path, monkeypatch):
    path = written(chain((4,), n=lif((4,))), tmp_path / "net.nir", {"output": (4,)})
    monkeypatch.delitem(builder._LOWER, "LIF")
    with pytest.raises(UserError, match=r"node 'n' \(LIF\): it is not imported") as raised:
        imported(path, T)
    assert "CubaLIF, Delay" in raised.value.hint


def test_long_filters_are_refused(tmp_path):
    nodes = {"li": nir.LI(each(9 * DT, 4), each(1, 4), each(0, 4)), "n": lif((4,))}
    path = written(chain((4,), **nodes), tmp_path / "net.nir", {"output": (4,)})
    imported(path, LONGEST)
    with pytest.raises(UserError, match=r"node 'li' \(LI\): its output over 129 time steps"):
        imported(path, LONGEST + 1)


def edit(path, **fields):
    """Write other values into the node `n` of a file."""
    with h5py.File(path, "a") as file:
        group = file["node/nodes/n"]
        for key, value in fields.items():
            del group[key]
            if value is not None:
                group[key] = value
    return path


def test_files_that_are_not_as_nir_defines_are_refused(tmp_path):
    def fresh():
        return written(chain((4,), n=lif((4,))), tmp_path / "net.nir", {"output": (4,)})

    with pytest.raises(UserError, match="node 'n' is of type 'Quantum', which"):
        imported(edit(fresh(), type="Quantum"), T)
    with pytest.raises(UserError, match=r"node 'n' \(LIF\) is not as NIR defines it"):
        imported(edit(fresh(), tau=None), T)
    with pytest.raises(UserError, match=r"its r is .*, no numbers"):
        imported(edit(fresh(), r=np.array([b"a"] * 4)), T)
    path = edit(fresh(), r=None)
    with h5py.File(path, "a") as file:
        file["node/nodes/n/r"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(UserError, match="'node/nodes/n/r' is not in the file itself"):
        imported(path, T)
    with pytest.raises(UserError, match="does not say how many time steps"):
        imported(fresh(), None)
    with pytest.raises(UserError, match="a time step of 0 s"):
        imported(fresh(), T, dt=0.0)
    graph = chain((4,), n=lif((4,)))
    graph.nodes["n"] = nir.NIRGraph({}, [], type_check=False)
    with pytest.raises(UserError, match="graph 'n' has 0 nodes of type Input"):
        imported(written(graph, tmp_path / "net.nir", {"output": (4,)}), T)


def test_large_numbers_that_take_little_room_are_refused(tmp_path, monkeypatch):
    path = written(
        chain((4,), n=nir.Linear(np.zeros((4, 4)))), tmp_path / "n.nir", {"output": (4,)}
    )
    with h5py.File(path, "a") as file:
        del file["node/nodes/n/weight"]
        file.create_dataset(
            "node/nodes/n/weight", (1 << 20, 1 << 20), "f4", compression="gzip", chunks=(1024, 1024)
        )
    with pytest.raises(UserError, match="its numbers take more than 34,359,738,368 bytes"):
        imported(path, T)


def test_broken_files_are_refused(tmp_path):
    """Cut short anywhere, or with bytes of something else: a message, no traceback."""
    path = written(chain((4,), n=lif((4,))), tmp_path / "net.nir", {"output": (4,)})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(200):
        data = bytearray(whole)
        if number % 2:
            data = data[: rng.integers(len(data))]
        else:
            for at in rng.integers(len(data), size=20):
                data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            imported(path, T)
        except UserError:
            refused += 1
    assert refused > 100
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is not a NIR graph, or is cut short"):
        imported(path, T)


def test_without_the_package_it_says_what_to_install(tmp_path):
    path = written(chain((4,), n=lif((4,))), tmp_path / "net.nir", {"output": (4,)})
    out = tmp_path / "model.onnx"
    code = HQC[2].replace("from hqc", "import sys; sys.modules['nir'] = None; from hqc")
    command = [sys.executable, "-c", code, "import", path, "-o", out, "--time-steps", "3"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "hqc: hint: pip install 'hqc[nir]'" in found.stderr
    assert not out.exists()


def test_the_command_line_imports(tmp_path):
    path = written(chain((4,), n=lif((4,))), tmp_path / "net.nir", {"output": (4,)})
    out = tmp_path / "model.onnx"
    command = [*HQC, "import", path, "-o", out, "--input-scale", "1", "--time-steps", "3"]
    found = subprocess.run([*command, "--dt", "1e-3"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert hqc.verify(out, "host").ok
    found = subprocess.run(
        [*command, "--from", "onnx", "--dt", "1e-3"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert "--dt says nothing of an ONNX model" in found.stderr


def test_quantizers_that_weights_no_longer_fit_are_left_out(tmp_path):
    said = '{"op": "QuantUniform", "bits": 4, "signed": 1, "narrow": 1, "axis": 0, "scale": 0.5}'
    for weight, quantized in ((np.float32([[0.5, -1.5]]), 1), (np.float32([[0.5, -1.6]]), 0)):
        for text, known in ((said, 1), (said.replace("4", "99"), 0), ("nothing", 0)):
            node = nir.Linear(weight, metadata={QUANTIZER: text})
            path = written(chain((2,), n=node), tmp_path / "net.nir", {"output": (1,)})
            ops = [n.op_type for n in imported(path, T).graph]
            assert ops.count("QuantUniform") == quantized * known
