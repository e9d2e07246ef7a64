"""Torch's exports are made quickly, and are what they are without."""

from __future__ import annotations

import importlib
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from hqc.frontend import quick_export


class Net(nn.Module):
    """Ops that rules of the optimizer are for: two slices of one tensor, clips, padding, norms."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=0)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.conv(nn.functional.pad(x, (1, 1, 1, 1))))
        a, b = x[:, :2], x[:, 2:]
        x = torch.cat([a.clamp(min=0).clamp(max=1), b.relu().unsqueeze(0).squeeze(0)], 1)
        return self.linear(x.mean((2, 3)).reshape(-1, 4).transpose(0, 1).transpose(0, 1))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def exported(net, way):
    with way:
        program = torch.onnx.export(net, (torch.rand(2, 4, 5, 5),), dynamo=True, verbose=False)
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # where in this file it was made
    return model


def places():
    """What is replaced: where it is, its name, and torch's or onnxscript's own."""
    for module, owner, name, _ in quick_export._FASTER:
        holder = importlib.import_module(module)
        holder = getattr(holder, owner) if owner else holder
        yield holder, name, vars(holder)[name]


OWN = list(places())


@contextmanager
def slow():
    with pytest.MonkeyPatch.context() as patch:
        for place in OWN:
            patch.setattr(*place)
        yield


def test_exports_are_what_they_are_without(net):
    with slow():
        own = exported(net, nullcontext())
        quick = exported(net, quick_export.quick())
    assert quick.SerializeToString(deterministic=True) == own.SerializeToString(deterministic=True)
    assert {n.op_type for n in own.graph.node} & {"Split", "Clip"}, "no rule was taken"


def test_what_an_export_adds_to_the_table_is_its_own():
    with quick_export.quick():
        first = ONNXRegistry.from_torchlib()
        size = sum(map(len, first.functions.values()))
        for found in first.functions.values():
            found.clear()
        first.functions.clear()
        assert sum(map(len, ONNXRegistry.from_torchlib().functions.values())) == size > 100


def test_functions_are_torchs_own_again():
    with slow():
        with quick_export.quick():
            assert all(
                now is not own for (_, _, now), (_, _, own) in zip(places(), OWN, strict=True)
            )
        assert list(places()) == OWN


def test_ops_that_come_later_are_named(monkeypatch):
    told = []
    found = ["aten::a"]
    monkeypatch.setattr(
        torch._C, "_dispatch_get_registrations_for_dispatch_key", lambda key: [*found]
    )
    materialize = quick_export._when_there_are_others(lambda: told.append(len(found)))
    materialize()
    materialize()
    found.append("own::b")
    materialize()
    assert told == [1, 2]


@pytest.mark.parametrize("package", ["torch", "onnxscript"])
def test_other_versions_export_as_they_do(monkeypatch, package):
    tested = {**quick_export._TESTED, package: "1."}
    monkeypatch.setattr(quick_export, "_TESTED", tested)
    with slow(), quick_export.quick():
        assert list(places()) == OWN
