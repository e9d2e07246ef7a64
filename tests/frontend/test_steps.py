"""Loops over time that torch unrolls: one layer, whose steps are along its first axis."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

import hqc
from hqc.dialect import DIALECT
from hqc.errors import VerificationError
from hqc.frontend import lifted
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.models.lif import LIF
from hqc.quantize import apply_recipe
from hqc.reference import run_reference
from tests.frontend.test_parts import Rounded
from tests.refusals.case import Small
from tests.refusals.case import T as SMALL_T

T, C, D = 3, 3, 8


class Steps(nn.Module):
    """A stem's spikes [T, D, 6, 6], something step by step, and a head."""

    def __init__(self, body):
        super().__init__()
        torch.manual_seed(1)
        self.stem, self.lif = nn.Conv2d(C, D, 3, padding=1), LIF(v_threshold=0.3)
        self.conv, self.norm = nn.Conv2d(D, D, 3, padding=1), nn.BatchNorm2d(D)
        self.after, self.head = LIF(v_threshold=0.2), nn.Linear(D, 5)
        self.body = body

    def forward(self, x):
        x = self.lif(self.stem(x.flatten(0, 1)))
        return self.head(self.after(self.body(self, x)).mean((2, 3))).mean(0)


def into_zeros(net, x):
    y = torch.zeros_like(x)
    for t in range(T):
        y[t] = net.conv(x[t : t + 1])[0]
    return y


def backwards(net, x):
    y = torch.zeros_like(x)
    for t in reversed(range(T)):
        y[t] = net.norm(net.conv(x[t].unsqueeze(0)))[0]
    return y


def remembering(net, x, levels=3, up=False):
    """As SpikeYOLO's neurons: what was fired is taken away before the potential decays."""
    given, fired, potential = net.conv(x).unsqueeze(1) * 6, [], None
    for t in range(T):
        potential = given[t] if t == 0 else (potential - fired[-1]) * 0.25 + given[t]
        fired.append(Rounded.apply(potential, levels, up))
    return torch.stack(fired).flatten(0, 1)


BODIES = {
    "a layer, stacked": lambda net, x: torch.cat([net.conv(x[t].unsqueeze(0)) for t in range(T)]),
    "a layer, into zeros": into_zeros,
    "layers, last step first": backwards,
    "neurons with a memory": remembering,
    "neurons with a memory, halves up": lambda net, x: remembering(net, x, 7, True),
    "neurons without a memory": lambda net, x: torch.cat(
        [Rounded.apply(net.conv(x[t].unsqueeze(0)) * 6, 4, False) for t in range(T)]
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_loop_is_one_layer(name, tmp_path):
    net = apply_recipe(Steps(BODIES[name]).eval(), {"*": "4u"})
    path = tmp_path / "net.onnx"
    frames = [torch.randint(0, 4, (T, 1, C, 6, 6)).float() for _ in range(3)]
    export(net, frames, path, input_scale=1.0)
    found = hqc.verify(path, "host")
    assert found.ok, found
    ops = [n.op_type for n in load_model(path).graph]
    assert ops.count("Conv") == 2
    assert not {"Gather", "ScatterElements", "Concat"} & set(ops)
    artifact = hqc.compile(path, target="host", output=tmp_path / "build")
    logits = []
    for x in frames:
        with torch.no_grad():
            expected = net(x).numpy()
        logits.append(artifact.run(x.numpy()).reshape(-1))
        np.testing.assert_allclose(logits[-1], expected, atol=1e-4 * np.abs(expected).max())
    assert not np.array_equal(logits[0], logits[1])


def forgetting(net, x):
    """The first two steps remember, the last does not."""
    given, fired, potential = net.conv(x).unsqueeze(1) * 6, [], None
    for t in range(T):
        remembers = t == 1
        potential = (potential - fired[-1]) * 0.25 + given[t] if remembers else given[t]
        fired.append(Rounded.apply(potential, 3, False))
    return torch.stack(fired).flatten(0, 1)


@pytest.mark.parametrize("body", [forgetting], ids=lambda f: f.__name__)
def test_steps_that_differ_are_no_loop(body, tmp_path):
    net = apply_recipe(Steps(body).eval(), {"*": "4u"})
    frames = [torch.randint(0, 4, (T, 1, C, 6, 6)).float()]
    export(net, frames, tmp_path / "net.onnx", input_scale=1.0)
    loaded = load_model(tmp_path / "net.onnx")
    original = ir.serde.deserialize_model(onnx.load(tmp_path / "net.onnx"))
    given = {loaded.graph.inputs[0].name: frames[0].numpy()}
    expected = run_reference(original, given)[0]
    np.testing.assert_allclose(run_reference(loaded, given)[0], expected, atol=1e-6)


def test_neurons_of_one_step_each_have_no_memory(tmp_path):
    """Of the dialect itself, with a tau: every call starts at rest."""
    net = Small(tmp_path)
    y = net.conv(net.spikes())
    parts = []
    for t in range(SMALL_T):
        bounds = [net.constant([i], np.int64) for i in (t, t + 1, 0)]
        x = net.op("Slice", y, *bounds)
        parts.append(net.op("IntegerLIF", x, domain=DIALECT, levels=3, v_threshold=0.3))
    net.end(net.lif(net.op("Concat", *parts, axis=0)))
    path = net.save(net.path)
    loaded = load_model(path)
    assert sum(n.op_type == "IntegerLIF" for n in loaded.graph) == SMALL_T


def test_a_loop_that_is_read_wrongly_is_noticed(tmp_path, monkeypatch):
    net = apply_recipe(Steps(remembering).eval(), {"*": "4u"})
    frames = [torch.randint(0, 4, (T, 1, C, 6, 6)).float()]
    export(net, frames, tmp_path / "net.onnx", input_scale=1.0)
    charge = lifted.charge_behind
    monkeypatch.setattr(lifted, "charge_behind", lambda *given: (charge(*given)[0], 0.9))
    with pytest.raises(VerificationError, match="is not what hqc reads it as"):
        load_model(tmp_path / "net.onnx")


def test_another_order_is_no_loop(tmp_path):
    """Steps that change places are not lowered as if they did not."""

    def swapped(net, x):
        return torch.cat([net.conv(x[t].unsqueeze(0)) for t in (1, 0, 2)])

    net = apply_recipe(Steps(swapped).eval(), {"*": "4u"})
    frames = [torch.randint(0, 4, (T, 1, C, 6, 6)).float()]
    export(net, frames, tmp_path / "net.onnx", input_scale=1.0)
    found = hqc.verify(tmp_path / "net.onnx", "host")
    assert found.ok, found
