"""Neurons as nodes of NIR."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.exporters.nir.network import (
    Network,
    writes,
)
from hqc.importers.nir.conventions import below, in_steps
from hqc.passes.axes import axes
from hqc.passes.graph import unsupported


@writes("LIF", domain=DIALECT)
def _neurons(net: Network, node: ir.Node) -> None:
    """Neurons that are set to a value, without a memory as a threshold."""
    import nir

    x, said = net.read(node), find_op(node).attributes(node)
    if not x.time or x.view[0] != axes(("T", net.steps))[0]:
        raise unsupported(node, "its first axis is not time")

    def each(number: float) -> np.ndarray:
        return np.full(x.shape, number, np.float32)

    level = each(below(said["v_threshold"]))
    if said["tau"] == 1:
        made: Any = nir.Threshold(level)
    elif said["soft_reset"]:
        raise unsupported(
            node, "its neurons are reset by subtraction, and NIR's are set to v_reset",
            "train with a hard reset, e.g. v_reset=0",
        )  # fmt: skip
    elif math.isinf(said["tau"]):
        made = nir.IF(each(1), level, each(said["v_reset"]))
    else:
        tau, resistance = _seconds(said["tau"], net.dt), 1 if said["decay_input"] else said["tau"]
        settings = {"v_threshold": level, "v_reset": each(said["v_reset"])}
        made = nir.LIF(tau=np.full(x.shape, tau), r=each(resistance), v_leak=each(0), **settings)
    net.give(node, net.emit(node.name, made, x, x.shape, x.view))


def _seconds(steps: float, dt: float) -> np.floating:
    """So many steps, to be read as that float32 again: a float32 where there is one."""
    seconds = np.float32(steps * dt)
    same = in_steps(np.array(seconds), dt).astype(np.float32) == np.float32(steps)
    return seconds if same else np.float64(steps) * dt
