"""Write a trained network of networks.py as NIR, by its library's own export.

python examples/libraries/write_nir.py norse_nir_net norse_nir_net.pt -o norse.nir
"""

from __future__ import annotations

import argparse
from pathlib import Path

import networks
import nir
import norse.torch as norse
import numpy as np
import torch
from snntorch.export_nir import export_to_nir
from torch import nn

FRAME = torch.zeros(1, 2, 34, 34)


def by_snntorch(net: nn.Module) -> nir.NIRGraph:
    """Without an axis for the batch."""
    return export_to_nir(net, FRAME, ignore_dims=[0])


def by_norse(net: nn.Module) -> nir.NIRGraph:
    """With time constants in seconds, which are written times dt.

    Norse 1.1 leaves out what `nir.write` needs: the sizes of the images that convolutions read,
    and an axis of what is one number.
    """
    sizes = _sizes(net)
    graph = norse.to_nir(net, FRAME, dt=1)
    for name, node in graph.nodes.items():
        for key, value in vars(node).items():
            if isinstance(value, torch.Tensor | np.ndarray):
                setattr(node, key, np.atleast_1d(np.asarray(value)))
        if isinstance(node, nir.Conv2d):
            node.input_shape = sizes[name]
    return graph


def _sizes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """Height and width of what each layer reads."""
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str, given: torch.Tensor) -> None:
        sizes[name] = tuple(given.shape[2:])

    hooks = [
        layer.register_forward_pre_hook(lambda _, given, name=name: note(name, given[0]))
        for name, layer in net.named_children()
    ]
    net(FRAME)
    for hook in hooks:
        hook.remove()
    return sizes


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", choices=["snntorch_nir_net", "norse_nir_net"])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()

    net = networks.NETWORKS[asked.network]().eval()
    net.load_state_dict(torch.load(asked.checkpoint, weights_only=True))
    write = by_norse if isinstance(net, norse.SequentialState) else by_snntorch
    with torch.no_grad():
        nir.write(asked.output, write(net))


if __name__ == "__main__":
    main()
