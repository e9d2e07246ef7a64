"""Modules like those that are drawn, and a few that are, stay right or refused."""

from __future__ import annotations

import pytest

from hqc.frontend import export as export_file
from hqc.models.lif import LIF
from tests.fuzz.modules import Attention, ConvNode, Fuzzing, Membrane, Node, Residual, Spec, check

SPECS = {
    "shortcuts of spikes": Spec(
        (ConvNode(style="library", pool="max after"), Residual("and"), Residual("add")),
        steps=3,
        bits=("2l", "8u"),
        head="steps",
    ),
    "shortcuts of potentials": Spec(
        (Membrane(5, "container", (Node("IFNode", reset=-0.3), Node(reset=None)), Node("LIF")),),
        repeated=True,
        signed=True,
        steps=4,
    ),
    "attention": Spec(
        (ConvNode(), Attention(q=Node(tau=4.0, reset=0.2), v=Node("ParametricLIFNode"))),
        steps=1,
        bits=("4u", "fp32"),
        head="steps",
        head_node=Node(threshold=0.3, decay_input=False),
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_module_of_every_kind_is_right(name):
    outcome = check(SPECS[name], compiled=False)
    assert outcome.refused is None
    assert outcome.same_class == 4
    assert outcome.spikes_differ <= 1e-4 * outcome.spikes
    assert outcome.drift < 1e-3


@pytest.mark.parametrize("twist", ["hook", "initial potential", "per channel"])
def test_a_node_that_was_changed_is_refused(twist):
    spec = Spec((ConvNode(node=Node(twist=twist, surrogate="LeakyKReLU")),))
    assert "export: layer 'blocks.0.1'" in check(spec).refused


def test_a_wrong_export_is_found(monkeypatch):
    """Without export's own comparison, the harness sees a neuron that has another threshold."""

    def wrong(module):
        for node in module.modules():
            if isinstance(node, LIF):
                node.v_threshold *= 1.2
        return module

    was = export_file.with_stepped_neurons
    monkeypatch.setattr(export_file, "with_stepped_neurons", lambda module: wrong(was(module)))
    assert "spikes of layer 'blocks.0.1' differ" in check(Spec()).refused
    monkeypatch.setattr(export_file.Agreement, "check", lambda self, run: None)
    outcome = check(Spec(), compiled=False)
    assert outcome.spikes_differ > 1e-2 * outcome.spikes


def test_drawn_modules_are_right_or_refused():
    fuzzing = Fuzzing(compiled=False)
    fuzzing.run(count=4, seed=2)
    assert not fuzzing.wrong, fuzzing.report()
    assert len(fuzzing.right) + fuzzing.refused.total() >= 3
