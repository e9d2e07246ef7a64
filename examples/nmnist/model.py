"""The example's networks."""

from hqc.models.lif import LIF
from hqc.models.meta_spikeformer import MetaSpikeFormer
from hqc.models.spikformer import Spikformer


def spikformer() -> Spikformer:
    """Spikformer for 34 x 34 pixels of two polarities: one block of 96 channels and 3 heads."""
    return Spikformer()


def meta_spikeformer() -> MetaSpikeFormer:
    """A small Meta-SpikeFormer for the same recordings: 16 to 64 channels, two attention blocks.

    Its few recordings do not wake neurons that hardly fire; at half the published thresholds, and
    with attention scaled for 4 heads of 12 or 16 channels, all layers learn from the start.
    """
    model = MetaSpikeFormer(
        2,
        10,
        dims=(16, 32, 48, 64),
        depths=(1, 1),
        heads=4,
        ratio=2,
        first_kernel=3,
        attention_scale=1.0,
    )
    for module in model.modules():
        if isinstance(module, LIF):
            module.v_threshold /= 2
    return model
