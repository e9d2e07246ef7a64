"""Spiking self-attention as one op, so that no matrix of scores is ever stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from hqc.dialect import DIALECT
from hqc.dialect.fixed_point_lif import NAMES
from hqc.passes.axes import VIEWS, Axes, Factor, axes, through_view
from hqc.passes.graph import unsupported
from hqc.passes.infer_ranges import RANGE
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class FuseAttention(Pass):
    """FixedPointLIF((Q K^T) V), or of Q (K^T V), with heads split and merged -> SpikeAttention.

    1. Two integer MatMuls of activations, the one feeding the other, are read as factors q, k, v
       of shape [T, N, L, D]; views between are followed by their axes, not by their pattern.
    2. The contraction must be over the channels of a head, then over tokens; anything else is
       refused with the node's name.
    """

    name: ClassVar[str] = "fuse-attention"

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite every pair of products that neurons read."""
        for node in model.graph:
            if (node.domain, node.op_type) == (DIALECT, "FixedPointLIF"):
                outer, _ = _root(node.inputs[0])
                if outer is not None and outer.op_type == "MatMul":
                    _fuse(model.graph, node, outer)
        RemoveUnusedNodesPass()(model)
        return model


def _root(value: ir.Value) -> tuple[ir.Node | None, list[ir.Node]]:
    """The node behind a chain of views, and the views, first to last."""
    views: list[ir.Node] = []
    node = value.producer()
    while node is not None and not node.domain and node.op_type in VIEWS:
        views.insert(0, node)
        node = node.inputs[0].producer()
    return node, views


def _follow(view: Axes, nodes: list[ir.Node]) -> Axes:
    for node in nodes:
        view = through_view(node, view)
    return view


def _fuse(graph: ir.Graph, neurons: ir.Node, outer: ir.Node) -> None:
    left, right = (_root(v) for v in outer.inputs)
    inner, inner_views = left if left[0] is not None and left[0].op_type == "MatMul" else right
    if inner is None or inner.op_type != "MatMul" or inner_views:
        raise unsupported(outer, "a product of two activations that is not (Q K^T) V")
    pair = [_root(v) for v in inner.inputs]
    scores_first = inner is left[0]
    (q, k, v) = (*pair, right) if scores_first else (left, *pair)

    sources = [factor[0].outputs[0] for factor in (q, k, v)]
    shape = sources[0].shape.numpy()
    if len(shape) != 4 or any(s.shape.numpy() != shape for s in sources):
        raise unsupported(inner, "q, k and v are not of one shape [T, N, L, D]")
    time, batch, tokens, dim = shape
    root = axes(("T", time), ("N", batch), ("L", tokens), ("C", dim))
    q_axes, k_axes, v_axes = (_follow(root, factor[1]) for factor in (q, k, v))

    head_dim = q_axes[-1][0].size if q_axes[-1] else 1
    heads = dim // head_dim
    outer_axes = (
        root[0],
        root[1],
        axes(None)[0] if heads == 1 else (Factor("C", heads, head_dim),),
    )
    token_axis, channel_axis = root[2], axes(("C", head_dim))[0]
    by_token = (*outer_axes, token_axis, channel_axis)
    by_channel = (*outer_axes, channel_axis, token_axis)
    _, views = _root(neurons.inputs[0])
    if (q_axes, k_axes, v_axes) != (by_token, by_channel, by_token) or _follow(
        by_token, views
    ) != root:
        raise unsupported(
            inner,
            "its factors are not q [T, N, heads, L, d], k transposed, v",
            "write attention as (q @ k.transpose(-2, -1)) @ v over heads",
        )
    attributes = {name: neurons.attributes[name].value for name in NAMES}
    attention = ir.node(
        "SpikeAttention",
        [*sources, *neurons.inputs[1:]],
        {"heads": heads, **attributes},
        domain=DIALECT,
        name=neurons.name,
    )
    old, new = neurons.outputs[0], attention.outputs[0]
    new.name, new.shape, new.type = old.name, old.shape, old.type
    new.metadata_props[RANGE] = "1"
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.insert_after(neurons, attention)
    graph.remove(neurons, safe=True)
