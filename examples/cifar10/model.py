"""The example's network."""

from hqc.models.spikformer import Spikformer


def spikformer() -> Spikformer:
    """Spikformer for 32 x 32 pixels in color: two blocks of 256 channels and 8 heads."""
    return Spikformer(in_channels=3, dim=256, depth=2, heads=8, pool=(False, True, True, True))
