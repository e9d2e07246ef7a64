"""Units of streams: what a coarser one changes is lowered again, and nothing else."""

from __future__ import annotations

import onnx_ir as ir

from hqc.frontend.load import load_model
from hqc.passes import make_integer, parse_pipeline, run_passes
from hqc.passes.integer_rules.streams import Stream, find_streams
from tests.refusals.case import Small

_PASSES = parse_pipeline("canonicalize,make-integer")


def _residual(folder):
    """A stream that its blocks add to, each as much as there was, between two that stay small."""
    net = Small(folder)
    x = net.spikes()
    y = net.conv(x, name="first")
    for block in range(12):
        spikes = net.lif(y, v_threshold=1.0, name=f"{block}.lif")
        inner = net.lif(net.conv(spikes, name=f"{block}.a"), name=f"{block}.b.lif")
        added = net.op("Add", net.conv(inner, name=f"{block}.b"), y, name=f"{block}.sum")
        y = net.op("Add", added, y, name=f"{block}.add")
    net.end(net.lif(net.conv(net.lif(y, name="last.lif"), name="last"), name="end.lif"))
    return net.save(net.path)


def test_coarser_units_give_what_they_would_have_from_the_start(tmp_path, monkeypatch):
    path = _residual(tmp_path)
    coarsened = []
    original = Stream.coarsen

    def noted(stream: Stream, by: float) -> bool:
        coarsened.append(stream)
        return original(stream, by)

    monkeypatch.setattr(Stream, "coarsen", noted)
    found = []

    def kept(graph: ir.Graph) -> dict[ir.Value, Stream]:
        found.append(find_streams(graph))
        return found[-1]

    monkeypatch.setattr(make_integer, "find_streams", kept)
    piecewise = run_passes(load_model(path), _PASSES)
    assert len(coarsened) > 1
    bits = {value.name: stream.bits for value, stream in found[0].items()}

    def settled(graph: ir.Graph) -> dict[ir.Value, Stream]:
        streams = find_streams(graph)
        for value, stream in streams.items():
            stream.bits = bits[value.name]
        return streams

    monkeypatch.setattr(make_integer, "find_streams", settled)
    coarsened.clear()
    at_once = run_passes(load_model(path), _PASSES)
    assert not coarsened
    assert ir.serde.serialize_model(piecewise) == ir.serde.serialize_model(at_once)
