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

SPIKINGJELLY_INTEGRATORS = {
    "spikingjelly.activation_based.neuron": ("NonSpikingLIFNode", "NonSpikingIFNode")
}

SNNTORCH = {"snntorch": ("Leaky", "Lapicque", "Synaptic")}

NORSE = {
    "norse.torch.module.lif_box": ("LIFBoxCell",),
    "norse.torch.module.lif": ("LIFCell", "LIF"),
    "norse.torch.module.iaf": ("IAFCell", "IAF"),
}

NORSE_INTEGRATORS = {
    "norse.torch.module.leaky_integrator": ("LICell", "LI", "LILinearCell"),
    "norse.torch.module.leaky_integrator_box": ("LIBoxCell",),
}

SINABS = {
    "sinabs.layers.lif": ("LIF", "LIFSqueeze"),
    "sinabs.layers.iaf": ("IAF", "IAFSqueeze"),
}

NODES = SPIKINGJELLY | SNNTORCH | NORSE | SINABS
"""Neurons that remember from one call to the next, in a loop over time or over parts of it."""

INTEGRATORS = SPIKINGJELLY_INTEGRATORS | NORSE_INTEGRATORS
"""Leaky integrators, which read potentials out."""
