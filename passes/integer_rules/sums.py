"""Convolutions and linear layers become integer sums of codes, attention products of integers.

Sums of spikes end in neurons, or in potentials. A convolution of potentials (the inner ones of a
separable convolution or a RepConv) reads them in fixed point.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.facts import write_bound
from hqc.dialect.integer_conv import depthwise_interval
from hqc.dialect.intervals import INT32, RangeError, sum_interval
from hqc.dialect.metadata import LAYER
from hqc.passes.axes import Axes, axes, flatten, named, product, size_of, spell
from hqc.passes.graph import integer, ints, unsupported
from hqc.passes.integer_rules.arithmetic import refuse_auto_pad
from hqc.passes.integer_rules.quantity import (
    BITS,
    FINE,
    SCHEME,
    Lowering,
    Quantity,
    Weights,
    described,
    rescaled,
    rule,
)
from hqc.passes.integer_rules.views import permuted, reshaped

_FLOAT_SUM = 2**24
"""What the codes of a layer left in float32 may add up to: a float32's precision."""

_PRODUCT_BITS = 61
"""What a sum of potentials, times its rescaling's multiplier, may take of 64 bits."""

_HEAD_BITS = 30
"""What a classifier's sums, with the fractional bits of its bias, may take of 32."""


_LEAST_BITS = {np.int8: 0, np.int16: 9, np.int32: 17}
"""Bits that say how wide codes of a type are stored, where their quantizer had fewer."""


def _stored(codes: np.ndarray) -> np.dtype:
    """The narrowest type that holds the codes."""
    kinds = (np.int8, np.int16, np.int32)
    low, high = codes.min(initial=0), codes.max(initial=0)
    return next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)


def _codes(node: ir.Node, lowering: Lowering, weights: Weights) -> ir.Value:
    """The initializer of the codes, in the narrowest type that holds them."""
    codes = np.ascontiguousarray(weights.codes.astype(_stored(weights.codes)))
    value = lowering.builder.initializer(codes, f"{node.name}.codes")
    value.metadata_props[BITS] = str(max(weights.bits, _LEAST_BITS[codes.dtype.type]))
    value.metadata_props[SCHEME] = weights.scheme
    if LAYER in node.metadata_props:  # sums over channels and windows have weights, and are none
        value.metadata_props[LAYER] = node.metadata_props[LAYER]
    return value


def _weights(
    node: ir.Node, lowering: Lowering, axis: int, perm: list[int] | None = None
) -> Weights:
    """The node's second input as codes whose scale varies along `axis` alone.

    Weights left in float32 become codes of 32 bits: as fine as lets the largest sum of them have
    the 24 bits of a float32's significand.
    """
    found = lowering.weights(node, 1)
    if found is None:
        raise unsupported(node, "its weights are computed; only constant ones are lowered")
    if isinstance(found, Weights):
        found = found.transposed(perm) if perm else found
        if not found.per_channel(axis):
            raise unsupported(
                node,
                f"its weights have {found.scale.size} scales along an axis that is not its output "
                "channels",
                "give their quantizer one scale, or the axis of the output channels",
            )
        return found
    array = (found.transpose(perm) if perm else found).astype(np.float64)
    rows = np.moveaxis(np.abs(array), axis, 0)
    reach = rows.reshape(len(rows), -1).sum(1)
    scale = np.where(reach > 0, reach, 1) / _FLOAT_SUM
    shape = [1] * array.ndim
    shape[axis] = -1
    codes = np.round(array / scale.reshape(shape))
    rounding = np.abs(array - codes * scale.reshape(shape))
    return Weights(codes, scale, axis, 32, "uniform", rounding)


def layer_sum(
    node: ir.Node,
    x: Quantity,
    weights: Weights,
    bias: np.ndarray | None,
    view: Axes,
    weights_axis: int,
    *,
    depthwise: bool = False,
) -> Quantity:
    """The quantity of sums over all axes of the codes but `weights_axis`, one channel each.

    Its value is still the input's. Its interval is what the codes can reach with inputs in the
    interval of x, or with padding.
    """

    def by_input(array: np.ndarray) -> np.ndarray:
        """[outputs, inputs, taps]"""
        rows = np.moveaxis(array, weights_axis, 0)
        return rows.reshape(*rows.shape[:2], -1)

    rows = by_input(weights.codes).astype(np.int64)
    outputs, inputs = rows.shape[:2]

    def summed(factors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Magnitudes of weights times what each input channel has, added up by output."""
        taps = factors.sum(2)
        wide = np.broadcast_to(numbers, outputs if depthwise else inputs)
        return taps[:, 0] * wide if depthwise else taps @ wide

    interval = depthwise_interval if depthwise else sum_interval
    try:
        low, high = interval(rows, x.low, x.high)
    except RangeError as error:
        raise unsupported(node, error.what, "quantize its weights to fewer bits") from None
    scale = np.broadcast_to(x.scale * weights.scale, outputs).astype(np.float64)
    error = summed(np.abs(rows), x.error) * np.broadcast_to(weights.scale, outputs)
    error = error + summed(by_input(weights.rounding), x.float_reach)
    offset = np.float64(0) if bias is None else bias.astype(np.float64).reshape(-1)
    if offset.size not in (1, outputs):
        raise unsupported(node, f"its bias has {offset.size} numbers for {outputs} outputs")
    offset = np.broadcast_to(offset, outputs).astype(np.float64)
    return Quantity(x.value, "sums", view, scale, offset, low, high, error, None, weights_axis)


def layer(
    node: ir.Node,
    lowering: Lowering,
    op_types: tuple[str, str],
    x: Quantity,
    weights: Weights,
    sums: Quantity,
    **attributes: object,
) -> Quantity:
    """The sums by an op of standard ONNX, where bytes and 32 bits do, else by ours of 64 bits."""
    initializer = _codes(node, lowering, weights)
    narrow = x.is_bytes and initializer.dtype == ir.DataType.INT8 and sums.reach <= INT32
    narrow = narrow and bool(op_types[0])
    return lowering.emit(
        node,
        op_types[0] if narrow else op_types[1],
        [x.value, initializer],
        replace(sums, weights=initializer if narrow else None),
        ir.DataType.INT32 if narrow else ir.DataType.INT64,
        domain="" if narrow else DIALECT,
        **attributes,
    )


def in_fixed_point(
    node: ir.Node, lowering: Lowering, x: Quantity, weights: Weights, axis: int
) -> Quantity:
    """The node's input, x, as potentials, as fine as the sums over them allow.

    Sums stay in 32 bits where that leaves potentials fine enough. In 64, what is left of them is
    shared between the potentials and the multiplier that the sums are rescaled by.
    """
    rows = np.moveaxis(np.abs(weights.codes), axis, 0)
    largest = max(int(rows.reshape(len(rows), -1).sum(1).max()), 1)
    reach = max(float(np.max(x.float_reach)), 2.0**-60) * 1.01
    unit = reach / (INT32 // largest)
    if not 0 < unit <= FINE * lowering.stream(node, 0).threshold:
        bits = min((_PRODUCT_BITS - largest.bit_length()) // 2, 30)
        unit = reach / 2**bits
    return rescaled(node, x, lowering, unit)


@rule("Conv", attributes=("kernel_shape", "strides", "pads", "auto_pad", "dilations", "group"))
def lower_conv(node: ir.Node, lowering: Lowering) -> Quantity:
    """Conv -> ConvInteger, IntegerConv or IntegerDepthwiseConv; bias and scales move on."""
    refuse_auto_pad(node)
    x = lowering.quantity(node, 0)
    weights = _weights(node, lowering, 0)
    if weights.codes.ndim != 4:
        raise unsupported(node, f"its window has {weights.codes.ndim - 2} dimensions, not 1 or 2")
    group, dilations = integer(node, "group", 1), ints(node, "dilations", [1, 1])
    outputs, inputs = weights.codes.shape[:2]
    if group != 1 and (group < 1 or outputs % group or group * inputs != x.shape[1]):
        raise unsupported(
            node,
            f"its {group} groups are of {inputs} channels and {outputs} outputs, and its input has "
            f"{x.shape[1]} channels",
        )
    strides, pads = ints(node, "strides", [1, 1]), ints(node, "pads", [0, 0, 0, 0])
    pointwise = {*weights.codes.shape[2:], *strides} == {1} and not any(pads) and group == 1
    vote = weights.codes.shape[:3] == (1, 1, 1) and not any(pads[::2])
    if vote and x.view[1:-1] == ((),) * 2 and x.is_channels(-1) and not x.is_image:
        weights = _whole_kernels(weights, group, dilations)
        return _along_channels(node, lowering, x, weights, strides[1], pads)
    if not pointwise:
        x = lowering.image(node)
    elif not x.is_channels(1):
        x = lowering.regarded(node, 0, named(x.view, [1]))
    depthwise = group > 1 and group == len(weights.codes) == x.shape[1] and x.kind != "frames"
    weights = _whole_kernels(weights, 1 if depthwise else group, dilations)
    channels = len(weights.codes)
    if not x.is_bytes:
        x = in_fixed_point(node, lowering, x, weights, 0)
    bias = lowering.constant(node, 2)
    if x.is_image:
        view = axes(*zip("TCYX", node.outputs[0].shape.numpy(), strict=True))
    else:
        view = (x.view[0], *axes(("C", channels)), *x.view[2:])
    sums = layer_sum(node, x, weights, bias, view, 0, depthwise=depthwise)
    names = ("", "IntegerDepthwiseConv") if depthwise else ("ConvInteger", "IntegerConv")
    return layer(node, lowering, names, x, weights, sums, strides=strides, pads=pads)


def _whole_kernels(weights: Weights, group: int, dilations: list[int]) -> Weights:
    """The weights of a convolution in one group without dilation: zeros where others have none."""
    if group == 1 and {*dilations} == {1}:
        return weights

    def spread(array: np.ndarray) -> np.ndarray:
        outputs, inputs, *kernel = array.shape
        size = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        whole = np.zeros((outputs, group * inputs, *size))
        for g, rows in enumerate(np.split(np.arange(outputs), group)):
            columns = slice(g * inputs, (g + 1) * inputs)
            whole[rows, columns, :: dilations[0], :: dilations[1]] = array[rows]
        return whole

    return replace(weights, codes=spread(weights.codes), rounding=spread(weights.rounding))


def _along_channels(
    node: ir.Node,
    lowering: Lowering,
    x: Quantity,
    weights: Weights,
    stride: int,
    pads: list[int],
) -> Quantity:
    """A window of [T, 1, 1, C] along the channels, as of a vote: a linear layer of few codes."""
    channels = x.shape[-1]
    outputs = node.outputs[0].shape.numpy()[-1]
    bias = lowering.constant(node, 2)
    _, left, _, right = pads

    def spread(taps: np.ndarray) -> np.ndarray:
        """[channels, outputs]: which tap of the window of each output lies on a channel."""
        rows = np.zeros((left + channels + right, outputs))
        for out in range(outputs):
            rows[out * stride : out * stride + taps.size, out] = taps.reshape(-1)
        return rows[left : left + channels]

    codes, rounding = spread(weights.codes), spread(weights.rounding)
    scale = np.float64(weights.scale.item())
    weights = replace(weights, codes=codes, rounding=rounding, scale=scale, axis=1)
    if not x.is_bytes:
        x = in_fixed_point(node, lowering, x, weights, 1)
    view = (*x.view[:-1], *axes(("C", outputs)))
    sums = layer_sum(node, x, weights, bias, view, 1)
    return layer(node, lowering, ("MatMulInteger", "IntegerMatMul"), x, weights, sums)


@rule("Gemm", attributes=("transA", "transB", "alpha", "beta"))
def lower_gemm(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """Gemm -> a linear layer; alpha and beta are factors of its sums and of its bias."""
    if integer(node, "transA", 0):
        raise unsupported(node, "transA is 1; activations are lowered as they are")
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
            "give one number an output",
        )
    bias = None if bias is None else bias * beta
    return _linear(node, lowering, bias, [1, 0] if integer(node, "transB", 0) else None, alpha)


@rule("MatMul")
def lower_matmul(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """MatMul -> MatMulInteger with weights; a product of integers between activations."""
    if lowering.weights(node, 1) is not None:
        return _linear(node, lowering, None, None)
    a, b = (lowering.quantity(node, i) for i in (0, 1))
    times = ([[f for f in axis if f.root == "T"] for axis in x.view[:-2]] for x in (a, b))
    if a.shape[:-2] != b.shape[:-2] or next(times) != next(times):
        raise unsupported(
            node,
            f"its factors' axes, [{spell(a.view)}] of {list(a.shape)} and [{spell(b.view)}] of "
            f"{list(b.shape)}, differ before the last two",
            "repeat none of them, and put the time steps first",
        )
    if "T" in {f.root for x in (a, b) for axis in x.view[-2:] for f in axis}:
        raise unsupported(
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


def _linear(
    node: ir.Node,
    lowering: Lowering,
    bias: np.ndarray | None,
    perm: list[int] | None,
    alpha: float = 1.0,
) -> Quantity | None:
    """A linear layer of channels, of whole flattened images, or of a network's spike counts."""
    x = lowering.quantity(node, 0)
    weights = _weights(node, lowering, 1, perm)
    if weights.codes.ndim != 2:
        shape = list(weights.codes.shape)
        raise unsupported(node, f"its weights, of shape {shape}, are not a matrix")
    scaled = weights.rounding * np.abs(alpha)
    weights = replace(weights, scale=weights.scale * alpha, rounding=scaled)
    counts = x.kind == "levels" and x.is_plain and x.value.dtype == ir.DataType.INT32
    everything = {f.root for axis in x.view for f in axis} <= {"C"} and x.is_channels(-1)
    if counts and everything and node.outputs[0].is_graph_output():
        sums = layer_sum(node, x, weights, bias, x.view, 1)
        _classifier(node, lowering, x, weights, sums)
        return None
    others = {f.root for axis in x.view[:-1] for f in axis}
    if not x.is_channels(-1) and others <= {"T"}:
        return _of_whole_image(node, lowering, x, weights, bias)
    if not x.is_channels(-1):
        x = lowering.regarded(node, 0, named(x.view, [len(x.view) - 1]))
    if not x.is_bytes:
        x = in_fixed_point(node, lowering, x, weights, 1)
    view = (*x.view[:-1], *axes(("C", weights.codes.shape[1])))
    sums = layer_sum(node, x, weights, bias, view, 1)
    return layer(node, lowering, ("MatMulInteger", "IntegerMatMul"), x, weights, sums)


def _of_whole_image(
    node: ir.Node,
    lowering: Lowering,
    x: Quantity,
    weights: Weights,
    bias: np.ndarray | None,
) -> Quantity:
    """A linear layer of flattened channels and positions: a convolution in a window of all."""
    if not x.is_bytes:
        x = in_fixed_point(node, lowering, x, weights, 1)
    flat = x.view[-1]
    if "T" in {f.root for f in flat}:
        raise unsupported(
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
    sums = layer_sum(node, x, weights, bias, (time, *axes(("C", outputs), None, None)), 0)
    sums = layer(
        node,
        lowering,
        ("ConvInteger", "IntegerConv"),
        x,
        weights,
        sums,
        shape=(time_steps, outputs, 1, 1),
        strides=[1, 1],
        pads=[0, 0, 0, 0],
    )
    return reshaped(node, lowering, sums, node.outputs[0].shape.numpy(), "row")


def _classifier(
    node: ir.Node, lowering: Lowering, x: Quantity, weights: Weights, sums: Quantity
) -> None:
    """IntegerLinear: a mean's classes. The bias keeps as many fractional bits as there is room for.

    The head of a network may have weights far coarser than its bias.
    """
    bias = sums.offset / sums.scale
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
    unit = sums.scale * 2.0**-shift
    whole = np.round(bias * 2.0**shift)
    initializer = _codes(node, lowering, weights)
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
    rounded = 3 * 2.0**-24 * reach * sums.scale + np.abs(whole - bias * 2.0**shift) * unit
    described(replace(sums, value=value, kind="logits"))
    write_bound(value, sums.error + rounded, axis=len(value.shape) - 1)
    lowering.logits[node.outputs[0]] = value
