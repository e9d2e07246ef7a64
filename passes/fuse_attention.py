"""Spiking self-attention as one op, so that no matrix of scores is ever stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from hqc.dialect import DIALECT
from hqc.dialect.facts import BOUND, Facts
from hqc.dialect.fixed_point_lif import NAMES
from hqc.passes.axes import VIEWS, Axes, Factor, axes, flatten, spell, through_view
from hqc.passes.graph import add_initializer, reshape, unsupported
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class FuseAttention(Pass):
    """FixedPointLIF((Q K^T) V), or of Q (K^T V), with heads split and merged -> SpikeAttention.

    1. Two integer MatMuls of activations, the one feeding the other, are read as factors q, k, v
       of shape [T, N, L, D] or [T, N, D, H, W]; views between are followed by their axes, not by
       their pattern.
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
        raise unsupported(
            outer,
            "neurons read a product of two activations that is neither (Q K^T) V nor Q (K^T V)",
            "write attention as (q @ k.transpose(-2, -1)) @ v over heads, without neurons between",
        )
    pair = [_root(v) for v in inner.inputs]
    scores_first = inner is left[0]
    (q, k, v) = (*pair, right) if scores_first else (left, *pair)

    sources = [factor[0].outputs[0] for factor in (q, k, v)]
    shape = sources[0].shape.numpy()
    if len(shape) not in (4, 5) or any(s.shape.numpy() != shape for s in sources):
        shapes = ", ".join(str(list(s.shape.numpy())) for s in sources)
        raise unsupported(
            inner,
            f"q, k and v are of shapes {shapes}, not of one, [T, N, L, D] or [T, N, D, H, W]",
        )
    names = "TNLC" if len(shape) == 4 else "TNCYX"
    root = axes(*zip(names, shape, strict=True))
    by_name = dict(zip(names, root, strict=True))
    dim = shape[names.index("C")]
    tokens = by_name["L"] if "L" in by_name else flatten((by_name["Y"], by_name["X"]))
    q_axes, k_axes, v_axes = (_follow(root, factor[1]) for factor in (q, k, v))

    head_dim = q_axes[-1][0].size if q_axes[-1] else 1
    heads = dim // head_dim
    head = axes(None)[0] if heads == 1 else (Factor("C", heads, head_dim),)
    outer_axes = (by_name["T"], by_name["N"], head)
    channels = axes(("C", head_dim))[0]
    by_token, by_channel = (*outer_axes, tokens, channels), (*outer_axes, channels, tokens)
    _, views = _root(neurons.inputs[0])
    if (q_axes, k_axes, v_axes) != (by_token, by_channel, by_token):
        pair = list(inner.inputs)
        factors = [*pair, outer.inputs[1]] if scores_first else [outer.inputs[0], *pair]
        found = ", ".join(f"[{Facts.of(v).axes}]" for v in factors)
        raise unsupported(
            inner,
            f"neurons give q as [{Facts.of(sources[0]).axes}], and q, k and v are factors as "
            f"{found}; wanted are [T, N, L, D] or [T, N, D, H, W], and [T, N, heads, L, d], k's "
            "last two exchanged",
            "write attention as (q @ k.transpose(-2, -1)) @ v over heads",
        )
    if _follow(by_token, views) != root:
        axes_read, axes_given = (Facts.of(v).axes for v in (neurons.inputs[0], sources[0]))
        raise unsupported(
            neurons,
            f"it reads attention as [{axes_read}], whose q, k and v neurons gave as [{axes_given}]",
            "let all four layers of neurons be of the same axes",
        )
    new_nodes: list[ir.Node] = []
    attention = ir.node(
        "SpikeAttention",
        [
            *(_as_tokens(graph, s, root, new_nodes) for s in sources),
            *(_by_channel(graph, v) for v in neurons.inputs[1:]),
        ],
        {"heads": heads, **{name: neurons.attributes[name].value for name in NAMES}},
        domain=DIALECT,
        name=neurons.name,
    )
    new_nodes.append(attention)
    old, new = neurons.outputs[0], attention.outputs[0]
    new.shape, new.type = attention.inputs[0].shape, old.type
    by_row = spell((by_name["T"], by_name["N"], tokens, by_name["C"]))
    Facts("spikes", 0, 1, by_row if len(shape) == 5 else Facts.of(old).axes).write(new)
    if len(shape) == 5:
        new = _as_image(graph, new, sources[0], new_nodes)
    new.name = old.name
    new.metadata_props[BOUND] = old.metadata_props[BOUND]
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.insert_after(neurons, new_nodes)
    graph.remove(neurons, safe=True)


def _by_channel(graph: ir.Graph, parameter: ir.Value) -> ir.Value:
    """Neurons' levels, a number or one a channel, for tokens, whose channels come last."""
    if len(parameter.shape) == 1:
        return parameter
    flat = parameter.const_value.numpy().reshape(-1)
    return add_initializer(graph, flat, f"{parameter.name}.flat")


def _as_tokens(graph: ir.Graph, value: ir.Value, view: Axes, nodes: list[ir.Node]) -> ir.Value:
    """The value as tokens [T, N, L, D]; the views that turn an image to them are added to nodes."""
    if len(view) == 4:
        return value
    shape = value.shape.numpy()
    flat = _viewed(value, reshape(graph, value, (*shape[:3], shape[3] * shape[4])), nodes)
    Facts.of(value).under(spell((*view[:3], flatten(view[3:])))).write(flat)
    return _transposed(flat, nodes)


def _as_image(graph: ir.Graph, tokens: ir.Value, like: ir.Value, nodes: list[ir.Node]) -> ir.Value:
    """Tokens [T, N, L, D] with the shape and the axes of an image [T, N, D, H, W]."""
    turned = _transposed(tokens, nodes)
    image = _viewed(turned, reshape(graph, turned, like.shape.numpy()), nodes)
    Facts.of(tokens).under(Facts.of(like).axes).write(image)
    return image


def _transposed(value: ir.Value, nodes: list[ir.Node]) -> ir.Value:
    """The last two of four axes exchanged."""
    turned = _viewed(value, ir.node("Transpose", [value], {"perm": [0, 1, 3, 2]}), nodes)
    a, b, c, d = value.shape.numpy()
    turned.shape = ir.Shape((a, b, d, c))
    facts = Facts.of(value)
    *outer, rows, columns = facts.axes.split(" ")
    facts.under(" ".join([*outer, columns, rows])).write(turned)
    return turned


def _viewed(source: ir.Value, view: ir.Node, nodes: list[ir.Node]) -> ir.Value:
    nodes.append(view)
    view.outputs[0].type = source.type
    return view.outputs[0]
