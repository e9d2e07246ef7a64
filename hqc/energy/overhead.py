"""The hardware term of a search's loss: energy and storage, differentiable in the choices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hqc.energy.counts import FP32, LayerCounts, Precision
from hqc.quantize.pow2 import QuantPow2
from hqc.quantize.recipe import quantizable_layers
from hqc.targets import EnergyProfile


class Overhead:
    """What layers cost, expected over choices, as shares of what they cost in fp32.

    Calling it with probabilities [layers, choices] gives (energy, storage), each the expectation
    over that of fp32; the rows are `layers`, the columns `choices` in a recipe's notation. The
    costs are those of `estimate`: a profile's equations, here for one layer and choice each.
    """

    def __init__(
        self,
        counts: Sequence[LayerCounts],
        choices: Sequence[str],
        profile: EnergyProfile,
        time_steps: int,
    ) -> None:
        weighted = [c for c in counts if c.weights]
        self.layers, self.choices = [c.name for c in weighted], list(choices)
        precisions = [*map(Precision.of, choices), FP32]
        costs = [
            [profile.evaluate(c.quantities(p, time_steps)) for p in precisions] for c in weighted
        ]
        self.energy = torch.tensor([[x.total for x in row] for row in costs], dtype=torch.float64)
        self.storage = torch.tensor(
            [[x.storage for x in row] for row in costs], dtype=torch.float64
        )

    def __call__(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Energy and storage over those of fp32; tensors of no dimension."""
        energy, storage = (
            (probabilities * cost[:, :-1].to(probabilities)).sum() / cost[:, -1].sum()
            for cost in (self.energy, self.storage)
        )
        return energy, storage


def precisions_of(model: nn.Module) -> dict[str, Precision]:
    """How each layer's weights are stored, by the quantizers that `apply_recipe` put there."""
    found = {}
    for name, layer in quantizable_layers(model).items():
        parametrizations = getattr(layer, "parametrizations", {})
        quantizer = parametrizations["weight"][0] if "weight" in parametrizations else None
        if quantizer is None:
            found[name] = FP32
        else:
            scheme = "pow2" if isinstance(quantizer, QuantPow2) else "uniform"
            found[name] = Precision(quantizer.bits, scheme)
    return found
