"""IntegerLinear: the classifier on spike counts, the compiled network's exit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.intervals import INT32, INT64, RangeError, sum_interval
from hqc.dialect.invariants import constant_of, expect, expect_channels, expect_shape, facts_of
from hqc.dialect.op import DIALECT, Op, register
from hqc.dialect.work import of_rows


def integer_linear(
    counts: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    *,
    weight_bits: int,
    weight_scheme: str,
    wide: int = 0,
    shift: int = 0,
) -> np.ndarray:
    """((counts @ weights) * 2^shift + bias) * scale -> float32 [1, O].

    counts int32 [1, C], weights integers [C, O], bias [O], scale float32 [O]. The bias has `shift`
    bits below the unit of the sums. All is exact in 32 bits, or where `wide` in 64, and the bias is
    an integer of that size; the conversion and the one multiplication round once each, to nearest
    even.
    """
    sums = ((counts.astype(np.int64) @ weights.astype(np.int64)) << shift) + bias
    return sums.astype(np.float32) * scale


def _verify(node: ir.Node) -> None:
    """The sums, raised by `shift`, and the bias must fit 32 bits, or 64 where they are `wide`."""
    counts = facts_of(node.inputs[0], "levels")
    facts_of(node.outputs[0], "logits")
    codes, bias = constant_of(node.inputs[1]), constant_of(node.inputs[2])
    inputs, outputs = codes.shape
    expect("the codes' input channels", inputs, node.inputs[0].shape.numpy()[-1])
    expect_shape(node.outputs[0], (1, outputs))
    for parameter in node.inputs[2:]:
        expect_channels(parameter, outputs)
    ends = sum_interval(codes.T, np.array(counts.low), np.array(counts.high))
    shift, wide = (
        node.attributes[n].value if n in node.attributes else 0 for n in ("shift", "wide")
    )
    largest = max(-int(ends[0].min()), int(ends[1].max())) << shift
    reach, most = largest + int(np.abs(bias.astype(np.int64)).max()), INT64 if wide else INT32
    if reach > most:
        raise RangeError("its sums do not fit their bits", reach / most)


INTEGER_LINEAR = register(
    Op(
        """
        IntegerLinear <weight_bits, weight_scheme, wide: int = 0, shift: int = 0>
            (counts, weights, bias, scale) => (y)
        {
            counts_wide = Cast <to = 7> (counts)
            weights_wide = Cast <to = 7> (weights)
            bias_wide = Cast <to = 7> (bias)
            products = MatMul(counts_wide, weights_wide)
            two = Constant <value_int = 2> ()
            shift = Constant <value_int: int = @shift> ()
            unit = Pow(two, shift)
            raised = Mul(products, unit)
            sums = Add(raised, bias_wide)
            real = Cast <to = 1> (sums)
            y = Mul(real, scale)
        }
        """,
        reference=integer_linear,
        verify=_verify,
        work=of_rows,
        domain=DIALECT,
        check=lambda a: None if 0 <= a["shift"] <= 62 else f"shift is {a['shift']}, not 0 to 62",
    )
)
