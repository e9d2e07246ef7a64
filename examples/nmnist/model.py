"""The example's network."""

from hqc.models.spikformer import Spikformer


def spikformer() -> Spikformer:
    """Spikformer for 34 x 34 pixels of two polarities: one block of 96 channels and 3 heads."""
    return Spikformer()
