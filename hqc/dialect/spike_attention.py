"""SpikeAttention: (Q K^T) V over spikes or sums of spikes, and the neurons that read it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.fixed_point_lif import FORWARD, SIGNATURE, fixed_point_lif, verify_neurons
from hqc.dialect.intervals import INT32, RangeError
from hqc.dialect.invariants import expect, expect_channels, expect_shape, facts_of
from hqc.dialect.op import Op, register


def spike_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reset: np.ndarray,
    *,
    heads: int,
    **lif: int,
) -> np.ndarray:
    """FixedPointLIF((Q K^T) V) per head: q, k, v uint8 [T, N, L, D] -> spikes, the same shape.

    Each holds spikes, or sums of spikes up to 255; the accumulators must fit int32. There is no
    softmax (Spikformer, equation 6), so Q (K^T V) is equal and often cheaper.
    """
    time_steps, batch, tokens, dim = q.shape
    split = (time_steps, batch, tokens, heads, dim // heads)
    q, k, v = (a.astype(np.int32).reshape(split).swapaxes(2, 3) for a in (q, k, v))
    accumulator = (q @ (k.swapaxes(-1, -2) @ v)).swapaxes(2, 3)
    return fixed_point_lif(
        accumulator.reshape(time_steps, batch, tokens, dim), bias, threshold, reset, **lif
    )


def verify_attention(node: ir.Node, tokens: int, channels: int) -> None:
    """Spikes or levels q, k, v, whose products over tokens and a head's channels fit 32 bits."""
    heads = node.attributes["heads"].value
    expect("the rest of its channels over its heads", channels % heads, 0)
    reach = tokens * (channels // heads)
    for factor in node.inputs[:3]:
        reach *= facts_of(factor, "spikes", "levels").highest
    if reach > INT32:
        raise RangeError("its sums do not fit 32 bits", reach / INT32)
    for level in node.inputs[3:]:
        expect_channels(level, channels)
    verify_neurons(node, node.inputs[3:], np.array(0), np.array(reach))


def _verify(node: ir.Node) -> None:
    shape = node.inputs[0].shape.numpy()
    for value in (*node.inputs[1:3], node.outputs[0]):
        expect_shape(value, shape)
    verify_attention(node, *shape[2:])


SPIKE_ATTENTION = register(
    Op(
        f"""
        SpikeAttention <heads, {SIGNATURE}> (q, k, v, bias, threshold, reset) => (spikes)
        {{
            heads = Constant <value_int: int = @heads> ()
            minus_one = Constant <value_ints = [-1]> ()
            heads_dim = Reshape(heads, minus_one)
            shape = Shape(q)
            outer = Shape <end = 3> (q)
            split = Concat <axis = 0> (outer, heads_dim, minus_one)
            q_split = Reshape(q, split)
            k_split = Reshape(k, split)
            v_split = Reshape(v, split)
            q_heads = Transpose <perm = [0, 1, 3, 2, 4]> (q_split)
            k_heads = Transpose <perm = [0, 1, 3, 4, 2]> (k_split)
            v_heads = Transpose <perm = [0, 1, 3, 2, 4]> (v_split)
            q_int = Cast <to = 6> (q_heads)
            k_int = Cast <to = 6> (k_heads)
            v_int = Cast <to = 6> (v_heads)
            scores = MatMul(q_int, k_int)
            mixed = MatMul(scores, v_int)
            tokens = Transpose <perm = [0, 1, 3, 2, 4]> (mixed)
            accumulator = Reshape(tokens, shape)
            spikes = ai.hqc.FixedPointLIF <{FORWARD}> (accumulator, bias, threshold, reset)
        }}
        """,
        reference=spike_attention,
        verify=_verify,
    )
)
