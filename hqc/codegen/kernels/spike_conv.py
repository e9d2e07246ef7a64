"""SpikeConv and SpikeConvPotentials: sums by the kernel that their `kernel` attribute names."""

from __future__ import annotations

import onnx_ir as ir

from hqc.codegen.kernels.conv_layer import Layer, conv_layer
from hqc.codegen.kernels.conv_potentials import conv_potentials
from hqc.codegen.kernels.kernel_base import KernelCall, kernel
from hqc.codegen.kernels.spike_conv_dense import dense_layer
from hqc.codegen.kernels.spike_conv_event import event_sums
from hqc.codegen.kernels.spike_conv_fields import field_sums
from hqc.codegen.kernels.spike_conv_planes import plane_sums

VARIANTS = {"event": event_sums, "fields": field_sums, "planes": plane_sums}


@kernel("SpikeConv")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SpikeConv."""
    if _kernel_of(node) == "dense":
        return dense_layer(node)
    return conv_layer(node, _sums(node, vector), vector)


@kernel("SpikeConvPotentials")
def emit_potentials(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SpikeConvPotentials."""
    return conv_potentials(node, _sums(node, vector), vector)


def _kernel_of(node: ir.Node) -> str:
    return node.attributes["kernel"].value if "kernel" in node.attributes else "event"


def _sums(node: ir.Node, vector: bool) -> Layer:
    return VARIANTS[_kernel_of(node)](node, vector)
