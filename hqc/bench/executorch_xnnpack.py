"""Peer: the same network in floats in ExecuTorch, what XNNPACK takes of it run by XNNPACK."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.bench.peer import Runner, peer
from hqc.bench.standard_model import folded_model


@peer("executorch-xnnpack", needs=["torch", "executorch"])
def build(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """ExecuTorch's export, lowered to XNNPACK, in its runtime for Python.

    XNNPACK takes no comparisons, selections and casts, which neurons are made of: ExecuTorch's own
    kernels run those. Lowering takes minutes where there are hundreds of them.
    """
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    from hqc.bench.torch_graph import GraphModule

    portable_lib._unsafe_reset_threadpool(1)
    module = GraphModule(ir.from_proto(folded_model(model)).graph).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, (torch.tensor(calibration[0]),))
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        buffer = lowered.to_executorch().buffer
    program = Runtime.get().load_program(buffer)
    method = program.load_method("forward")

    # A method reads what its program and the buffer hold, and keeps neither alive.
    def run(frames: np.ndarray, _held: object = (buffer, program)) -> np.ndarray:
        return method.execute([torch.tensor(frames)])[0].numpy()

    return run
