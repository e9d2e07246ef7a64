"""SpikeConv: the kernel that its `kernel` attribute names."""

from __future__ import annotations

import onnx_ir as ir

from hqc.codegen.kernels.kernel_base import KernelCall, kernel
from hqc.codegen.kernels.spike_conv_event import emit_event
from hqc.codegen.kernels.spike_conv_planes import emit_planes

VARIANTS = {"event": emit_event, "planes": emit_planes}


@kernel("SpikeConv")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SpikeConv."""
    chosen = node.attributes["kernel"].value if "kernel" in node.attributes else "event"
    return VARIANTS[chosen](node, vector)
