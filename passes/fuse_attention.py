"""Spiking self-attention as one op, so that no matrix of scores is ever stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.facts import BOUND, Facts
from hqc.dialect.fixed_point_lif import NAMES
from hqc.passes.axes import VIEWS
from hqc.passes.graph import add_initializer, constant, remove_unused, reshape
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class FuseAttention(Pass):
    """FixedPointLIF((Q K^T) V), or of Q (K^T V), for any heads and windows -> SpikeAttention.

    1. Two integer MatMuls of activations, the one feeding the other, are A B C, of [n, k], [k, m]
       and [m, e] with n = m and k = e.
    2. They are Q, K^T and V, over k channels of n tokens; or, where the channels are the other
       axis, the transposes of V, K and Q, over n channels of k tokens.
    3. What comes before the last two axes, heads or windows, are heads of more channels.
    4. A product that is none of these stays as it is.
    """

    name: ClassVar[str] = "fuse-attention"

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite every pair of products that neurons read."""
        for node in model.graph:
            if (node.domain, node.op_type) == (DIALECT, "FixedPointLIF"):
                outer, views = _root(node.inputs[0])
                factors = _factors(outer) if outer is not None else None
                if factors is not None:
                    _fuse(model.graph, node, factors, views)
        remove_unused(model)
        return model


def _root(value: ir.Value) -> tuple[ir.Node | None, list[ir.Node]]:
    """The node behind a chain of views, and the views, first to last."""
    views: list[ir.Node] = []
    node = value.producer()
    while node is not None and not node.domain and node.op_type in VIEWS:
        views.insert(0, node)
        node = node.inputs[0].producer()
    return node, views


def _is_bytes(value: ir.Value) -> bool:
    """Whether they are spikes, or levels that are packed like them, behind any views."""
    source = _root(value)[0]
    return source is not None and source.outputs[0].dtype == ir.DataType.UINT8


def _factors(outer: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value] | None:
    """A, B and C of a product (A B) C or A (B C); None where it is no attention."""
    if (outer.domain, outer.op_type) != ("", "MatMul"):
        return None
    left, right = outer.inputs
    for inner, others in ((left.producer(), (right,)), (right.producer(), (left,))):
        if inner is None or (inner.domain, inner.op_type) != ("", "MatMul"):
            continue
        a, b, c = (*inner.inputs, *others) if inner is left.producer() else (*others, *inner.inputs)
        *_, rows, _ = a.shape.numpy()
        *_, inner_rows, columns = b.shape.numpy()
        in_parts = any(name[0] == "T" for name in Facts.of(a).axes.split(" ") if name != "T")
        in_parts |= any("T" in Facts.of(v).axes.split(" ")[-2:] for v in (a, b, c))
        if (
            rows == columns
            and inner_rows == c.shape.numpy()[-1]
            and not in_parts
            and all(map(_is_bytes, (a, b, c)))
        ):
            return a, b, c
    return None


def _fuse(
    graph: ir.Graph,
    neurons: ir.Node,
    factors: tuple[ir.Value, ir.Value, ir.Value],
    views: Sequence[ir.Node],
) -> None:
    a = factors[0]
    names = Facts.of(a).axes.split(" ")
    rank = len(names)
    batch = [i for i in range(rank - 2) if names[i] != "T"]
    time = [i for i in range(rank - 2) if names[i] == "T"]
    channels_last = not names[-2].startswith("C") or names[-1].startswith("C")
    # Of each factor, which axis is the tokens.
    tokens = (rank - 2, rank - 1, rank - 2) if channels_last else (rank - 1, rank - 2, rank - 1)
    heads = math.prod(a.shape.numpy()[i] for i in batch)
    order = [*time, tokens[0], *batch, 2 * rank - 3 - tokens[0]]
    shape = a.shape.numpy()  # of the product, too: n = m and k = e
    split = [shape[i] for i in order]
    levels = [_by_token(v, views, shape, order, len(time) + 1) for v in neurons.inputs[1:]]
    if any(level is None for level in levels):
        return
    nodes: list[ir.Node] = []
    made = [
        _as_tokens(graph, value, time, axis, [*batch, 2 * rank - 3 - axis], nodes)
        for value, axis in zip(factors, tokens, strict=True)
    ]
    q, k, v = made if channels_last else made[::-1]
    parameters = [
        given
        if np.array_equal(constant(given), level)
        else add_initializer(graph, level, f"{given.name}.by token")
        for given, level in zip(neurons.inputs[1:], levels, strict=True)
    ]
    attention = ir.node(
        "SpikeAttention",
        [q, k, v, *parameters],
        {"heads": heads, **{name: neurons.attributes[name].value for name in NAMES}},
        domain=DIALECT,
        name=neurons.name,
    )
    nodes.append(attention)
    old, new = neurons.outputs[0], attention.outputs[0]
    new.shape, new.type = q.shape, old.type
    Facts("spikes", 0, 1, Facts.of(q).axes).write(new)

    # Back to the shape of the product, which is that of a but for its last axis, and its views.
    parts = _reshaped(graph, new, split, " ".join(names[i] for i in order), nodes)
    new = _transposed(parts, [order.index(i) for i in range(rank)], nodes)
    for view in views:
        if view.op_type == "Cast":
            continue
        inputs = [new, *view.inputs[1:]]
        again = ir.Node("", view.op_type, inputs, view.attributes.values(), name=view.name)
        new = _viewed(new, again, nodes)
        new.shape = view.outputs[0].shape
        Facts("spikes", 0, 1, Facts.of(view.outputs[0]).axes).write(new)
    new.name = old.name
    new.metadata_props[BOUND] = old.metadata_props[BOUND]
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.insert_after(neurons, nodes)
    graph.remove(neurons, safe=True)


def _by_token(
    parameter: ir.Value,
    views: Sequence[ir.Node],
    shape: Sequence[int],
    order: Sequence[int],
    outer: int,
) -> np.ndarray | None:
    """Neurons' levels for the channels of tokens, from those for what the views make of a product.

    One number, or one a channel; None where they differ by token. The product has that shape, its
    axes in that order are time and tokens, `outer` of them, then channels.
    """
    numbers = constant(parameter)
    if numbers.size == 1:
        return numbers.reshape(1)
    places = np.arange(math.prod(shape)).reshape(shape)
    for view in views:
        if view.op_type == "Transpose":
            places = places.transpose(view.attributes["perm"].value)
        elif view.op_type == "Reshape":
            places = places.reshape(constant(view.inputs[1]))
    found = np.empty(places.size, numbers.dtype)
    found[places] = np.broadcast_to(numbers, places.shape)
    rows = found.reshape(shape).transpose(order)
    rows = rows.reshape(math.prod(rows.shape[:outer]), -1)
    return rows[0] if (rows == rows[0]).all() else None


def _as_tokens(
    graph: ir.Graph,
    value: ir.Value,
    time: list[int],
    tokens: int,
    channels: list[int],
    nodes: list[ir.Node],
) -> ir.Value:
    """The value as tokens [T, 1, L, C]; the views that turn it are added to nodes."""
    shape, names = value.shape.numpy(), Facts.of(value).axes.split(" ")
    turned = _transposed(value, [*time, tokens, *channels], nodes)
    steps, width = (math.prod(shape[i] for i in some) for some in (time, channels))
    merged = [names[i] for i in channels if names[i] != "1"]
    whole = "C" if all(name.startswith("C") for name in merged) else "*".join(merged)
    text = f"{'T' if steps > 1 else '1'} 1 {names[tokens]} {whole if width > 1 else '1'}"
    return _reshaped(graph, turned, (steps, 1, shape[tokens], width), text, nodes)


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
