"""Linear layers, products of activations, and the classifier that a network ends in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.facts import write_bound
from hqc.dialect.intervals import INT32
from hqc.passes.axes import VIEWS, axes, flatten, named, product, size_of, spell, time_in
from hqc.passes.graph import integer, mixes_time, unsupported
from hqc.passes.integer_rules import sums
from hqc.passes.integer_rules.channels import repeated
from hqc.passes.integer_rules.quantity import (
    BITS,
    Lowering,
    Quantity,
    Weights,
    described,
    rescaled,
)
from hqc.passes.integer_rules.registry import rule
from hqc.passes.integer_rules.views import permuted, reshaped

_HEAD_BITS = 30
"""What a classifier's sums, with the fractional bits of its bias, may take of 32."""


@rule("Gemm", attributes=("transA", "transB", "alpha", "beta"))
def lower_gemm(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """Gemm -> a linear layer; alpha and beta are factors of its sums and of its bias."""
    if integer(node, "transA", 0):
        raise unsupported(node, "transA is 1", "run canonicalize before")
    alpha, beta = (
        float(node.attributes[n].value) if n in node.attributes else 1.0 for n in ("alpha", "beta")
    )
    if alpha == 0:
        raise unsupported(node, "alpha is 0", "leave the layer out")
    bias = lowering.constant(node, 2)
    if bias is not None and bias.size > 1 and bias.shape[-1] != bias.size:
        raise unsupported(
            node,
            f"its bias, of shape {list(bias.shape)}, varies along the rows of its input",
            "run canonicalize before",
        )
    bias = None if bias is None else bias * beta
    return _linear(node, lowering, bias, [1, 0] if integer(node, "transB", 0) else None, alpha)


@rule("MatMul")
def lower_matmul(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """MatMul -> MatMulInteger with weights; a product of integers between activations."""
    if lowering.weights(node, 1) is not None:
        return _linear(node, lowering, None, None)
    a, b = (_repeated(node, lowering, i) for i in (0, 1))
    steps, others = time_in(a.view), time_in(b.view)
    if steps[:-2] != others[:-2] or any(steps[-2:]) or any(others[-2:]):
        raise mixes_time(
            node,
            f"it multiplies matrices along time, [{spell(a.view)}] and [{spell(b.view)}]",
            "put the time steps first: a product is of one step's rows and columns",
        )
    whole = [x.kind in ("spikes", "levels") and x.is_plain for x in (a, b)]
    if not any(whole):
        raise unsupported(
            node,
            f"it multiplies {a.spelled} and {b.spelled}",
            "put LIF neurons before one of the factors",
        )
    spikes, other = (a, b) if whole[0] else (b, a)
    most = INT32 // (int(spikes.high.max()) * a.shape[-1])
    if not (other.is_plain and other.value.dtype != ir.DataType.INT64 and other.reach <= most):
        reach = max(float(other.float_reach.max()), 2.0**-60) * 1.01
        other = rescaled(node, other, lowering, reach / most)
    a, b = (spikes, other) if whole[0] else (other, spikes)
    wide = [lowering.in_words(q, f"{node.name}/{s}") for q, s in ((a, "left"), (b, "right"))]
    count = int(spikes.high.max()) * a.shape[-1]
    low, high = (
        np.int64(int(end) * count) for end in (min(other.low.min(), 0), max(other.high.max(), 0))
    )
    error = np.max(other.error) * count * spikes.scale
    view, zero = product(a.view, b.view, b.shape[-1]), np.float64(0)
    made = Quantity(a.value, "sums", view, a.scale * b.scale, zero, low, high, np.asarray(error))
    return lowering.emit(node, "MatMul", wide, made, ir.DataType.INT32)


def _repeated(node: ir.Node, lowering: Lowering, index: int) -> Quantity:
    """A factor of a product, repeated to as many matrices as the product has."""
    x = lowering.quantity(node, index)
    shape = (*node.outputs[0].shape.numpy()[:-2], *x.shape[-2:])
    if x.shape == shape:
        return x
    if not x.is_plain or x.kind in ("sums", "frames"):
        x = lowering.potentials(node, index)
    return repeated(node, lowering, x, shape)


def _linear(
    node: ir.Node,
    lowering: Lowering,
    bias: np.ndarray | None,
    perm: list[int] | None,
    alpha: float = 1.0,
) -> Quantity | None:
    """A linear layer of channels, of whole flattened images, or of a network's spike counts."""
    x = lowering.quantity(node, 0)
    weights = sums.read_weights(node, lowering, 1, perm)
    if weights.codes.ndim != 2:
        shape = list(weights.codes.shape)
        raise unsupported(node, f"its weights, of shape {shape}, are not a matrix")
    scaled = weights.rounding * np.abs(alpha)
    weights = replace(weights, scale=weights.scale * alpha, rounding=scaled)
    counts = x.kind == "levels" and x.is_plain and x.value.dtype == ir.DataType.INT32
    everything = {f.root for axis in x.view for f in axis} <= {"C"} and x.is_channels(-1)
    if counts and everything and _are_added_up(x.value) and node.outputs[0].is_graph_output():
        total = sums.layer_sum(node, x, weights, bias, x.view, 1)
        _classifier(node, lowering, x, weights, total)
        return None
    others = {f.root for axis in x.view[:-1] for f in axis}
    if not x.is_channels(-1) and others <= {"T"}:
        return _of_whole_image(node, lowering, x, weights, bias)
    if not x.is_channels(-1):
        x = lowering.regarded(node, 0, named(x.view, [len(x.view) - 1]))
    if not x.is_bytes:
        x = sums.in_fixed_point(node, lowering, x, weights, 1)
    view = (*x.view[:-1], *axes(("C", weights.codes.shape[1])))
    total = sums.layer_sum(node, x, weights, bias, view, 1)
    return sums.layer(node, lowering, ("MatMulInteger", "IntegerMatMul"), x, weights, total)


def _are_added_up(value: ir.Value) -> bool:
    """Whether 32-bit integers are spikes that were added up, and nothing was done to since."""
    while value.dtype == ir.DataType.INT32:
        node = value.producer()
        if node.op_type not in {"ReduceSum", *VIEWS}:
            return False
        value = node.inputs[0]
    return True


def _of_whole_image(
    node: ir.Node,
    lowering: Lowering,
    x: Quantity,
    weights: Weights,
    bias: np.ndarray | None,
) -> Quantity:
    """A linear layer of flattened channels and positions: a convolution in a window of all."""
    if not x.is_bytes:
        x = sums.in_fixed_point(node, lowering, x, weights, 1)
    flat = x.view[-1]
    if "T" in {f.root for f in flat}:
        raise mixes_time(
            node,
            f"its input's axes are [{spell(x.view)}], whose last has time steps in it",
            "let a layer read channels and positions of one time step",
        )
    order = sorted(range(len(flat)), key=lambda i: ("CYX".index(flat[i].root), -flat[i].stride))
    split = [f.size for f in flat]
    time_steps = int(np.prod(x.shape[:-1]))
    shape = [size_of((flat,), root) for root in "CYX"]

    def turned(array: np.ndarray) -> np.ndarray:
        """[inputs, outputs] -> [outputs, C, Y, X]"""
        rows = array.T.reshape(-1, *split).transpose(0, *(1 + i for i in order))
        return rows.reshape(-1, *shape)

    codes, rounding = turned(weights.codes), turned(weights.rounding)
    weights = replace(weights, codes=codes, rounding=rounding, axis=0)
    time = flatten(x.view[:-1])
    x = reshaped(node, lowering, x, [time_steps, *split], "factors")
    x = permuted(node, lowering, x, [0, *(1 + i for i in order)], "permuted")
    x = reshaped(node, lowering, x, [time_steps, *shape], "image")
    outputs = len(codes)
    total = sums.layer_sum(node, x, weights, bias, (time, *axes(("C", outputs), None, None)), 0)
    total = sums.layer(
        node,
        lowering,
        ("ConvInteger", "IntegerConv"),
        x,
        weights,
        total,
        shape=(time_steps, outputs, 1, 1),
        strides=[1, 1],
        pads=[0, 0, 0, 0],
    )
    return reshaped(node, lowering, total, node.outputs[0].shape.numpy(), "row")


def _classifier(
    node: ir.Node, lowering: Lowering, x: Quantity, weights: Weights, total: Quantity
) -> None:
    """IntegerLinear: a mean's classes. The bias keeps as many fractional bits as there is room for.

    The head of a network may have weights far coarser than its bias.
    """
    bias = total.offset / total.scale
    reach = np.abs(weights.codes).sum(0).max() * float(x.high.max()) + np.abs(bias).max()
    shift = _HEAD_BITS - int(np.ceil(np.log2(max(reach, 1))))
    wide = shift < 0
    if wide:
        shift += 31
    if shift < 0:
        raise unsupported(
            node,
            f"its bias reaches {np.abs(bias).max():.3g} units of its sums, more than 64 bits hold",
            "is the bias far too large, or the scale of the weights far too small?",
        )
    unit = total.scale * 2.0**-shift
    whole = np.round(bias * 2.0**shift)
    initializer = sums.store_codes(node, lowering, weights)
    value = lowering.builder.op(
        "IntegerLinear",
        [
            x.value,
            initializer,
            lowering.builder.initializer(
                whole.astype(np.int64 if wide else np.int32), f"{node.name}.bias"
            ),
            lowering.builder.initializer(unit.astype(np.float32), f"{node.name}.scale"),
        ],
        node.outputs[0].shape.numpy(),
        ir.DataType.FLOAT,
        name=node.name,
        domain=DIALECT,
        weight_bits=int(initializer.metadata_props[BITS]),
        weight_scheme=weights.scheme,
        **({"shift": shift} if shift else {}),
        **({"wide": 1} if wide else {}),
    )
    # Rounded are the bias; the sum and the scale to a float32, and their product.
    rounded = 3 * 2.0**-24 * reach * total.scale + np.abs(whole - bias * 2.0**shift) * unit
    described(replace(total, value=value, kind="logits"))
    write_bound(value, total.error + rounded, axis=len(value.shape) - 1)
    lowering.logits[node.outputs[0]] = value
