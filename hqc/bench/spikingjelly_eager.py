"""Peer: the same network in floats as SpikingJelly runs it, step by step of torch's own ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from hqc.bench.peer import Runner, peer
from hqc.copies import copy_model
from hqc.dialect import DIALECT, find_op
from hqc.errors import UserError
from hqc.passes import parse_pipeline, run_passes

if TYPE_CHECKING:
    from torch import nn


@peer("spikingjelly-eager", needs=["torch", "spikingjelly"])
def build(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """Its neurons with all steps at once, torch's layers and BatchNorm, in evaluation, eager."""
    import torch
    from spikingjelly.activation_based import functional

    from hqc.bench.torch_graph import GraphModule

    torch.set_num_threads(1)
    graph = run_passes(copy_model(model), parse_pipeline("fold-quantizers")).graph
    nodes = [n for n in graph if (n.domain, n.op_type) == (DIALECT, "LIF")]
    module = GraphModule(graph, {node.name: neuron_of(node) for node in nodes}).eval()

    @torch.inference_mode()
    def run(frames: np.ndarray) -> np.ndarray:
        functional.reset_net(module)
        return module(torch.tensor(frames)).numpy()

    return run


def neuron_of(node: ir.Node) -> nn.Module:
    """SpikingJelly's neurons for a LIF of the dialect. Raises `UserError` where it has none."""
    from spikingjelly.activation_based import neuron

    said = find_op(node).attributes(node)
    tau, soft = said["tau"], said["soft_reset"]
    shared = {
        "v_threshold": said["v_threshold"],
        "v_reset": None if soft else said["v_reset"],
        "step_mode": "m",
    }
    if said["v_reset"] != 0 or tau == 1:
        raise UserError(
            f"node {node.name!r}: SpikingJelly has no such neurons",
            hint="leave the peer spikingjelly-eager out",
        )
    if math.isinf(tau):
        return neuron.IFNode(**shared)
    return neuron.LIFNode(tau=tau, decay_input=bool(said["decay_input"]), **shared)
