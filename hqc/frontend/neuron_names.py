"""The neurons of SpikingJelly that are taken as ours, by module."""

NODES = {
    "spikingjelly.activation_based.neuron": ("LIFNode", "IFNode", "ParametricLIFNode"),
    # The older package's nodes of plain names take one time step a call.
    "spikingjelly.clock_driven.neuron": (
        "LIFNode",
        "IFNode",
        "ParametricLIFNode",
        "MultiStepLIFNode",
        "MultiStepIFNode",
        "MultiStepParametricLIFNode",
    ),
}
