"""Spiking self-attention as one op, so that no matrix of scores is ever stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from hqc.dialect import DIALECT
from hqc.dialect.facts import BOUND, Facts
from hqc.dialect.fixed_point_lif import NAMES
from hqc.passes.axes import VIEWS, Axes, Factor, size_of, through_view
from hqc.passes.graph import add_initializer, reshape, unsupported
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class FuseAttention(Pass):
    """FixedPointLIF((Q K^T) V), or of Q (K^T V), with heads split and merged -> SpikeAttention.

    1. Two integer MatMuls of activations, the one feeding the other, are three factors; views
       before and behind are followed by their axes, whatever the order of these.
    2. They are Q, K^T and V, or the transposes of V, K^T and Q, over the channels of a head and
       over tokens; anything else is refused with the node's name.
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
    chain = (*pair, right) if inner is left[0] else (left, *pair)
    factors = [_Factor.of(inner, *found) for found in chain]
    by_token, by_channel = _matrices(inner, factors)
    rows = [f.axes[-2:] for f in factors]
    if rows == [by_token[-2:], by_channel[-2:], by_token[-2:]]:
        q, k, v = factors
        product = by_token
    elif rows == [by_channel[-2:], by_token[-2:], by_channel[-2:]]:
        v, k, q = factors  # V^T K Q^T is ((Q K^T) V)^T
        product = by_channel
    else:
        found = ", ".join(f"[{f.text}]" for f in factors)
        raise unsupported(
            inner,
            f"the factors of the product have the axes {found}; wanted are Q, K^T and V, or V^T, K "
            "and Q^T, over tokens and the channels of a head",
            "write attention as (q @ k.transpose(-2, -1)) @ v over heads",
        )
    _, views = _root(neurons.inputs[0])
    made = _follow((*factors[0].axes[:-2], *product[-2:]), views)
    new_nodes: list[ir.Node] = []
    attention = ir.node(
        "SpikeAttention",
        [
            *(_as_tokens(graph, f.source, f.source_axes, new_nodes) for f in (q, k, v)),
            *(_by_channel(graph, value) for value in neurons.inputs[1:]),
        ],
        {
            "heads": size_of(product, "C") // max(size_of(by_token[-1:], "C"), 1),
            **{name: neurons.attributes[name].value for name in NAMES},
        },
        domain=DIALECT,
        name=neurons.name,
    )
    new_nodes.append(attention)
    old, new = neurons.outputs[0], attention.outputs[0]
    new.shape, new.type = attention.inputs[0].shape, old.type
    Facts("spikes", 0, 1, Facts.of(attention.inputs[0]).axes).write(new)
    new = _from_tokens(graph, new, made, old, new_nodes)
    new.name = old.name
    new.metadata_props[BOUND] = old.metadata_props[BOUND]
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.insert_after(neurons, new_nodes)
    graph.remove(neurons, safe=True)


@dataclass(frozen=True)
class _Factor:
    """A factor of a product: the value that it is a view of, and the axes of both.

    Positions are one root, L, of which Y and X are parts.
    """

    source: ir.Value
    source_axes: Axes
    axes: Axes
    text: str

    @classmethod
    def of(cls, product: ir.Node, node: ir.Node, views: list[ir.Node]) -> _Factor:
        """Of the product: the node behind a factor, and the views of what it gives."""
        source = node.outputs[0]
        own = _axes_of(product, source)
        seen = views[-1].outputs[0] if views else source
        return cls(source, own, _follow(own, views), Facts.of(seen).axes)


def _axes_of(product: ir.Node, value: ir.Value) -> Axes:
    """The axes of a value, from its facts."""
    names, shape = Facts.of(value).axes.split(" "), value.shape.numpy()
    width = math.prod(n for name, n in zip(names, shape, strict=True) if name == "X")
    found: list[tuple[Factor, ...]] = []
    for name, size in zip(names, shape, strict=True):
        if size == 1:
            found.append(())
        elif name in ("T", "Y", "X", "Y*X"):
            stride = width if name == "Y" else 1
            found.append((Factor("T" if name == "T" else "L", size, stride),))
        elif name[0] == "C" and "*" not in name:
            found.append((Factor("C", size, int(name.partition("/")[2] or 1)),))
        else:
            raise unsupported(
                product,
                f"a factor of the product is of neurons with the axes [{' '.join(names)}]",
                "let neurons before attention keep time, channels and positions apart",
            )
    return tuple(found)


def _matrices(product: ir.Node, factors: Sequence[_Factor]) -> tuple[Axes, Axes]:
    """The axes of tokens by heads, [T, heads, L, d], and of the same with the last two exchanged.

    All factors must be over the same time steps, heads, tokens and channels.
    """
    outer, *others = ([axis for axis in f.axes[:-2] if axis] for f in factors)
    ends = [{f.axes[-2], f.axes[-1]} for f in factors]
    roots = {f.root for axis in outer for f in axis}
    tokens = next((a for a in ends[0] if a and a[0].root == "L"), ())
    channels = next((a for a in ends[0] if a and a[0].root == "C"), ())
    same = all(o == outer for o in others) and all(e == {tokens, channels} for e in ends)
    inner = channels[0].stride if channels else 1
    whole = len(tokens) < 2 and (not tokens or tokens[0].stride == 1)
    if not same or not whole or not roots <= {"T", "C"} or inner != 1 or len(channels) > 1:
        found = ", ".join(f"[{f.text}]" for f in factors)
        raise unsupported(
            product,
            f"the factors of the product have the axes {found}, not the same time steps, heads, "
            "tokens and channels of a head",
            "write attention as (q @ k.transpose(-2, -1)) @ v over heads",
        )
    return (*outer, tokens, channels), (*outer, channels, tokens)


def _by_channel(graph: ir.Graph, parameter: ir.Value) -> ir.Value:
    """Neurons' levels, a number or one a channel, for tokens, whose channels come last."""
    if len(parameter.shape) == 1:
        return parameter
    flat = parameter.const_value.numpy().reshape(-1)
    return add_initializer(graph, flat, f"{parameter.name}.flat")


def _tokens_first(view: Axes) -> list[int]:
    """The axes of a view in the order of tokens: time, positions, channels."""
    place = {"T": 0, "L": 1, "C": 2}
    return sorted(
        range(len(view)),
        key=lambda i: (place[view[i][0].root], -view[i][0].stride) if view[i] else (0, 0),
    )


def _as_tokens(graph: ir.Graph, value: ir.Value, view: Axes, nodes: list[ir.Node]) -> ir.Value:
    """The value as tokens [T, 1, L, C]; the views that turn it are added to nodes."""
    turned = _transposed(value, _tokens_first(view), nodes)
    sizes = [size_of(view, root) for root in "TLC"]
    return _reshaped(graph, turned, (sizes[0], 1, *sizes[1:]), "T 1 Y*X C", nodes)


def _from_tokens(
    graph: ir.Graph, tokens: ir.Value, view: Axes, like: ir.Value, nodes: list[ir.Node]
) -> ir.Value:
    """Tokens [T, 1, L, C] with the shape and the axes of `like`, whose axes `view` says."""
    order, shape, names = _tokens_first(view), like.shape.numpy(), Facts.of(like).axes.split(" ")
    split = tuple(shape[i] for i in order)
    parts = _reshaped(graph, tokens, split, " ".join(names[i] for i in order), nodes)
    return _transposed(parts, [order.index(i) for i in range(len(order))], nodes)


def _transposed(value: ir.Value, perm: list[int], nodes: list[ir.Node]) -> ir.Value:
    """The value with its axes permuted."""
    if perm == sorted(perm):
        return value
    turned = _viewed(value, ir.node("Transpose", [value], {"perm": perm}), nodes)
    turned.shape = ir.Shape([value.shape.numpy()[i] for i in perm])
    names = Facts.of(value).axes.split(" ")
    Facts.of(value).under(" ".join(names[i] for i in perm)).write(turned)
    return turned


def _reshaped(
    graph: ir.Graph, value: ir.Value, shape: Sequence[int], names: str, nodes: list[ir.Node]
) -> ir.Value:
    """The value in another shape, whose axes have these names."""
    if value.shape.numpy() == tuple(shape):
        return value
    made = _viewed(value, reshape(graph, value, shape), nodes)
    Facts.of(value).under(names).write(made)
    return made


def _viewed(source: ir.Value, view: ir.Node, nodes: list[ir.Node]) -> ir.Value:
    nodes.append(view)
    view.outputs[0].type = source.type
    return view.outputs[0]
