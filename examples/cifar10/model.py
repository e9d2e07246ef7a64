"""The example's network."""

from hqc.models.spikformer import Spikformer


def spikformer() -> Spikformer:
    """Spikformer for 32 x 32 pixels in color: two blocks of 128 channels and 4 heads."""
    return Spikformer(in_channels=3, dim=128, depth=2, heads=4, pool=(False, True, True, True))
