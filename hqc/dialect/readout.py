"""What leaves a network that does not end in a classifier of spike counts: potentials as logits.

`ReadPotentials` is a network's exit. `SumSteps`, `KeepSteps` and `TakeStep` are what it reads in
compiled code: what was summed, kept or taken of all time steps, so that a network that is called
step by step has it too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import DIALECT, KERNEL, Op, register
from hqc.dialect.potentials import take_channels, verify_potentials


def read_potentials(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """x int32 of any shape, scale float32 [1] -> float32: converted, then multiplied."""
    return x.astype(np.float32) * scale


def read_logits(x: np.ndarray, scale: np.ndarray, *, channels: int, sizes: list[int]) -> np.ndarray:
    """Potentials int32 [N, 1, 1, 32 words(C)] -> float32 of a shape, N first, then channels."""
    return read_potentials(take_channels(x, channels=channels), scale).reshape(sizes)


def sum_steps(x: np.ndarray) -> np.ndarray:
    """Potentials int32 [T, H, W, C] -> [1, H, W, C]; the sums are proven to fit."""
    return x.sum(0, dtype=np.int32, keepdims=True)


def keep_steps(x: np.ndarray) -> np.ndarray:
    """Spikes or potentials as they are, of all time steps so far."""
    return x


def take_step(x: np.ndarray, *, step: int) -> np.ndarray:
    """Potentials int32 [T, H, W, C] -> those of one time step, [1, H, W, C]."""
    return x[step : step + 1]


def _verify_read(node: ir.Node) -> None:
    facts_of(node.inputs[0], "potentials", "levels", "spikes")
    facts_of(node.outputs[0], "logits")
    expect_shape(node.outputs[0], node.inputs[0].shape.numpy())


def _verify_logits(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "potentials")
    channels = node.attributes["channels"].value
    verify_potentials(node.inputs[0], channels)
    rows, height, width, _ = node.inputs[0].shape.numpy()
    expect("positions", (height, width), (1, 1))
    expect("numbers", int(np.prod(node.outputs[0].shape.numpy())), rows * channels)
    expect_shape(node.outputs[0], node.attributes["sizes"].value)
    expect_within(node.outputs[0], np.array(x.low), np.array(x.high))


def _verify_steps(node: ir.Node) -> None:
    kinds = ("potentials", "spikes", "levels") if node.op_type == "KeepSteps" else ("potentials",)
    x = facts_of(node.inputs[0], *kinds)
    expect("the unit", facts_of(node.outputs[0], x.kind).unit, x.unit)
    steps, *rest = node.inputs[0].shape.numpy()
    if node.op_type == "TakeStep":
        step = node.attributes["step"].value
        expect("whether there is such a step", 0 <= step < steps, True)
        expect_shape(node.outputs[0], [1, *rest])
        expect_within(node.outputs[0], np.array(x.low), np.array(x.high))
        return
    sums = node.op_type == "SumSteps"
    expect_shape(node.outputs[0], [1 if sums else steps, *rest])
    count = steps if sums else 1
    expect_within(node.outputs[0], np.multiply(x.low, count), np.multiply(x.high, count))


READ_POTENTIALS = register(
    Op(
        """
        ReadPotentials (x, scale) => (y)
        {
            real = Cast <to = 1> (x)
            y = Mul(real, scale)
        }
        """,
        reference=read_potentials,
        verify=_verify_read,
        domain=DIALECT,
    )
)
READ_LOGITS = register(
    Op(
        """
        ReadLogits <channels, sizes> (x, scale) => (y)
        {
            rows = ai.hqc.kernel.TakeChannels <channels: int = @channels> (x)
            real = ai.hqc.ReadPotentials (rows, scale)
            to = Constant <value_ints: ints = @sizes> ()
            y = Reshape(real, to)
        }
        """,
        reference=read_logits,
        verify=_verify_logits,
        domain=KERNEL,
    )
)
SUM_STEPS = register(
    Op(
        """
        SumSteps (x) => (y)
        {
            time = Constant <value_ints = [0]> ()
            y = ReduceSum <keepdims = 1> (x, time)
        }
        """,
        reference=sum_steps,
        verify=_verify_steps,
        domain=KERNEL,
        lasts=True,
    )
)
TAKE_STEP = register(
    Op(
        """
        TakeStep <step> (x) => (y)
        {
            first = Constant <value_ints = [0]> ()
            minus_one = Constant <value_ints = [-1]> ()
            one = Constant <value_int = 1> ()
            begin_int = Constant <value_int: int = @step> ()
            end_int = Add(begin_int, one)
            begin = Reshape(begin_int, minus_one)
            end = Reshape(end_int, minus_one)
            y = Slice(x, begin, end, first)
        }
        """,
        reference=take_step,
        verify=_verify_steps,
        domain=KERNEL,
        lasts=True,
    )
)
KEEP_STEPS = register(
    Op(
        "KeepSteps (x) => (y) { y = Identity(x) }",
        reference=keep_steps,
        verify=_verify_steps,
        domain=KERNEL,
        lasts=True,
    )
)
