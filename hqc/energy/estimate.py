"""Counts and precisions through a profile's equations: layers, groups, totals, ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hqc.energy.counts import FP32, LayerCounts, Precision
from hqc.energy.groups import attention_part, group_of
from hqc.errors import UserError
from hqc.targets import Energy, EnergyProfile


@dataclass(frozen=True)
class LayerEstimate:
    """A layer, what it takes (storage in bit, energy in pJ), and what it would take in fp32."""

    counts: LayerCounts
    precision: Precision
    energy: Energy
    fp32: Energy

    @property
    def group(self) -> str:
        """The part of the network that the layer belongs to."""
        return group_of(self.counts.name)


@dataclass(frozen=True)
class Part:
    """Sums over the layers of a part of the network: storage in bit, energy in pJ."""

    storage: float
    energy: float
    fp32_storage: float
    fp32_energy: float

    @classmethod
    def of(cls, layers: Iterable[LayerEstimate]) -> Part:
        """The sums over layers."""
        layers = list(layers)
        return cls(
            sum(x.energy.storage for x in layers),
            sum(x.energy.total for x in layers),
            sum(x.fp32.storage for x in layers),
            sum(x.fp32.total for x in layers),
        )

    def as_dict(self) -> dict[str, float]:
        """Storage in bytes and energy in pJ, here and in fp32."""
        return {
            "storage_bytes": self.storage / 8,
            "energy_pj": self.energy,
            "fp32_storage_bytes": self.fp32_storage / 8,
            "fp32_energy_pj": self.fp32_energy,
        }


@dataclass(frozen=True)
class Estimate:
    """The estimate of a model by a profile; ratios are fp32 over this model."""

    profile: EnergyProfile
    layers: Sequence[LayerEstimate]

    @property
    def total(self) -> Part:
        """The whole model."""
        return Part.of(self.layers)

    @property
    def average_bits(self) -> float:
        """Bits a weight, averaged over all weights."""
        weights = sum(x.counts.weights for x in self.layers)
        return sum(x.counts.weights * x.precision.bits for x in self.layers) / max(weights, 1)

    @property
    def groups(self) -> dict[str, Part]:
        """The parts of the network, and those of attention as `attention.q` and so on."""
        found: dict[str, list[LayerEstimate]] = {}
        for layer in self.layers:
            found.setdefault(layer.group, []).append(layer)
            if part := attention_part(layer.counts.name):
                found.setdefault(f"attention.{part}", []).append(layer)
        return {name: Part.of(layers) for name, layers in sorted(found.items(), key=_order)}

    def as_dict(self) -> dict:
        """Everything, as JSON stores it."""
        total = self.total
        return {
            "profile": self.profile.name,
            "average_bits": self.average_bits,
            "storage_ratio": total.fp32_storage / total.storage,
            "energy_ratio": total.fp32_energy / total.energy,
            "energy_pj": total.energy,
            "layers": [_layer_dict(layer) for layer in self.layers],
            "groups": {name: part.as_dict() for name, part in self.groups.items()},
        }


def _order(item: tuple[str, object]) -> tuple[int, str]:
    places = ("tokenizer", "attention", "mlp", "head")
    return places.index(item[0].partition(".")[0]), item[0]


def _layer_dict(layer: LayerEstimate) -> dict:
    counts = layer.counts
    return {
        "name": counts.name,
        "group": layer.group,
        "kind": counts.kind,
        "precision": str(layer.precision) if counts.weights else None,
        "weights": counts.weights,
        "rate": counts.rate,
        "spikes_per_step": counts.spikes_per_step,
        "firing_rates": counts.firing_rates,
        "synapses": counts.synapses,
        "operations": counts.operations,
        "neuron_updates": counts.updates,
        "storage_bytes": layer.energy.storage / 8,
        "energy_pj": layer.energy.total,
        "terms_pj": layer.energy.terms,
        "fp32_energy_pj": layer.fp32.total,
    }


def estimate(
    counts: Sequence[LayerCounts],
    precisions: Mapping[str, Precision],
    profile: EnergyProfile,
    time_steps: int,
) -> Estimate:
    """The energy of layers whose weights have the given precisions, by layer name.

    A product of activations is as wide as the network: floats if all its layers are, else codes.
    Raises `UserError` for a profile by which the model takes no energy, or no finite one.
    """
    all_float = all(p.scheme == "float" for p in precisions.values())
    spikes = FP32 if all_float else Precision(1, "uniform")
    layers = []
    for layer in counts:
        precision = precisions.get(layer.name, spikes)
        layers.append(
            LayerEstimate(
                layer,
                precision,
                profile.evaluate(layer.quantities(precision, time_steps)),
                profile.evaluate(layer.quantities(FP32, time_steps)),
            )
        )
    found = Estimate(profile, layers)
    for name, amount in (("energy", found.total.energy), ("storage", found.total.storage)):
        if not 0 < amount < math.inf:
            raise UserError(f"profile {profile.name!r} gives this model {name} of {amount:g}")
    return found
