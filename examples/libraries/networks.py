"""The convolutional network of snnTorch's N-MNIST tutorial, in snnTorch and in Norse.

Both take frames of one time step [N, 2, 34, 34], counts of events of each polarity, and keep or
hand on what their neurons remember; an output neuron for each digit fires or not.
"""

import norse.torch as norse
import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn

BETA = 0.5
"""What is left of a potential after a time step."""


def snntorch_net() -> nn.Sequential:
    """Call it once a time step, after `snntorch.utils.reset`: x -> spikes and potentials [N, 10].

    Its neurons keep their potentials themselves.
    """

    def leaky(**settings: bool) -> snn.Leaky:
        gradient = surrogate.atan()
        return snn.Leaky(beta=BETA, spike_grad=gradient, init_hidden=True, **settings)

    return nn.Sequential(
        nn.Conv2d(2, 12, 5),
        nn.MaxPool2d(2),
        leaky(),
        nn.Conv2d(12, 32, 5),
        nn.MaxPool2d(2),
        leaky(),
        nn.Flatten(),
        nn.Linear(32 * 5 * 5, 10),
        leaky(output=True),
    )


def snntorch_nir_net() -> nn.Sequential:
    """The same as NIR can say it: means for maxima, and potentials that are reset to zero.

    snnTorch writes layers whose neurons have a beta and a threshold each, here all the same.
    """

    def leaky(*shape: int, **settings: bool) -> snn.Leaky:
        gradient = surrogate.atan()
        return snn.Leaky(
            beta=torch.full(shape, BETA),
            threshold=torch.ones(shape),
            reset_mechanism="zero",
            spike_grad=gradient,
            init_hidden=True,
            **settings,
        )

    return nn.Sequential(
        nn.Conv2d(2, 12, 5),
        nn.AvgPool2d(2),
        leaky(12, 15, 15),
        nn.Conv2d(12, 32, 5),
        nn.AvgPool2d(2),
        leaky(32, 5, 5),
        nn.Flatten(),
        nn.Linear(32 * 5 * 5, 10),
        leaky(10, output=True),
    )


def norse_net() -> norse.SequentialState:
    """Call it once a time step: x and a state, at first None -> spikes [N, 10] and the next state.

    A time step is a millisecond, and a potential's time constant two.
    """

    return norse.SequentialState(
        nn.Conv2d(2, 12, 5),
        nn.MaxPool2d(2),
        _lif(),
        nn.Conv2d(12, 32, 5),
        nn.MaxPool2d(2),
        _lif(),
        nn.Flatten(),
        nn.Linear(32 * 5 * 5, 10),
        _lif(),
    )


def norse_nir_net() -> norse.SequentialState:
    """The same of what Norse writes as NIR, which is convolutions and neurons: with a stride for
    pools, and a window over all positions for a linear layer. Spikes are [N, 10, 1, 1].
    """
    return norse.SequentialState(
        nn.Conv2d(2, 12, 5, stride=2),
        _lif(),
        nn.Conv2d(12, 32, 5, stride=2),
        _lif(),
        nn.Conv2d(32, 10, 6),
        _lif(),
    )


def _lif() -> norse.LIFBoxCell:
    rate = torch.tensor((1 - BETA) / 0.001)
    # A wide surrogate gradient: with Norse's own of 100 few neurons would learn.
    settings = norse.LIFBoxParameters(tau_mem_inv=rate, alpha=torch.tensor(2.0))
    return norse.LIFBoxCell(settings, dt=0.001)


def rates(net: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """How often each output neuron fires, [T, N, ...] -> [N, 10]: the part of the time steps.

    As both libraries' tutorials count it.
    """
    state, spikes = None, []
    if isinstance(net, norse.SequentialState):
        for step in frames:
            spike, state = net(step, state)
            spikes.append(spike)
    else:
        utils.reset(net)
        spikes = [net(step)[0] for step in frames]
    return torch.stack(spikes).mean(0).flatten(1)


NETWORKS = {
    make.__name__: make for make in (snntorch_net, norse_net, snntorch_nir_net, norse_nir_net)
}
