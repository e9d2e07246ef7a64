"""What an inference costs: counts of a model's operations, through a profile's equations."""

from hqc.energy.counts import LayerCounts, Precision
from hqc.energy.estimate import Estimate, estimate

__all__ = ["Estimate", "LayerCounts", "Precision", "estimate"]
