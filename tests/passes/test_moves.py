"""Ops that move numbers: of spikes, of potentials, of frames."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import C, D, H, Small, T, W


def resized(net: Small, x: str, c: int, size: tuple[int, int], **attributes) -> str:
    sizes = net.constant([T, c, *size], np.int64)
    return net.op("Resize", x, "", "", sizes, mode="nearest", **attributes)


MOVES = {
    "smaller": lambda net, x, c: resized(net, x, c, (2, W - 1)),
    "larger, and no whole times": lambda net, x, c: resized(net, x, c, (H + 1, 2 * W)),
    "larger, by ceil": lambda net, x, c: resized(
        net, x, c, (H + 2, W + 3), nearest_mode="ceil", coordinate_transformation_mode="half_pixel"
    ),
    "the center": lambda net, x, c: net.op(
        "CenterCropPad", x, net.constant([H - 1, W - 2], np.int64), axes=[2, 3]
    ),
    "a table of rows": lambda net, x, c: net.view(
        net.op("Gather", x, net.constant([[1, 0], [0, 2]], np.int64), axis=2), (T, c, 4, W)
    ),
}


@pytest.mark.parametrize("kind", ["spikes", "potentials", "frames"])
@pytest.mark.parametrize("name", MOVES)
def test_what_moves_numbers(name, kind, tmp_path):
    def write(net: Small) -> None:
        x, channels = (net.image(), C) if kind == "frames" else (net.spikes(), D)
        x = net.conv(x, name="before") if kind == "potentials" else x
        moved = MOVES[name](net, x, channels)
        net.end(net.lif(net.conv(moved, (channels, D), name="after"), v_threshold=0.3))

    compiles_to_what_its_floats_say(write, tmp_path)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_as_pixels(mode, tmp_path):
    def write(net: Small) -> None:
        x = net.lif(net.conv(net.image(), (C, 4 * D), name="stem"), v_threshold=2.0)
        y = net.op("DepthToSpace", x, blocksize=2, mode=mode)
        back = net.op("SpaceToDepth", net.op("Concat", y, y, axis=3), blocksize=2)
        net.end(net.lif(net.conv(back, (4 * D, D), name="after"), v_threshold=0.3))

    compiles_to_what_its_floats_say(write, tmp_path)
