"""The example's network."""

from hqc.models.spikformer import Spikformer


def spikformer() -> Spikformer:
    """Spikformer for 32 x 32 pixels in color: four blocks of 384 channels and 12 heads."""
    return Spikformer(in_channels=3, dim=384, depth=4, heads=12, pool=(False, True, True, True))
