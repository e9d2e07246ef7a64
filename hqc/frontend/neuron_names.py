"""The neurons of other libraries that are taken as ours, by module."""

SPIKINGJELLY = {
    "spikingjelly.activation_based.neuron": (
        "LIFNode",
        "IFNode",
        "ParametricLIFNode",
        "SimpleLIFNode",
        "SimpleIFNode",
    ),
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

LEVELS = {"spikingjelly.activation_based.neuron": ("ILIFNode",)}
"""Neurons of several levels."""

INTEGRATORS = {"spikingjelly.activation_based.neuron": ("NonSpikingLIFNode", "NonSpikingIFNode")}
"""Leaky integrators, which read potentials out."""

SNNTORCH = {"snntorch": ("Leaky", "Lapicque")}

NORSE = {
    "norse.torch.module.lif_box": ("LIFBoxCell",),
    "norse.torch.module.lif": ("LIFCell", "LIF"),
    "norse.torch.module.iaf": ("IAFCell", "IAF"),
}

SINABS = {
    "sinabs.layers.lif": ("LIF", "LIFSqueeze"),
    "sinabs.layers.iaf": ("IAF", "IAFSqueeze"),
}

NODES = SPIKINGJELLY | SNNTORCH | NORSE | SINABS
"""Neurons that remember from one call to the next, in a loop over time or over parts of it."""
