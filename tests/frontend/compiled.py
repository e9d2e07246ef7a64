"""What a module has to end in: code that gives what the module itself does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

import hqc
from hqc.frontend.export import export
from hqc.quantize import apply_recipe


def compiles_to_what_it_does(net: nn.Module, frames: Sequence[Tensor], folder: Path) -> None:
    """On the host, its weights in 4 bits: by the verdict, and by its own logits."""
    net = apply_recipe(net.eval(), {"*": "4u"})
    path = folder / "net.onnx"
    functional.reset_net(net)
    export(net, frames, path)
    found = hqc.verify(path, "host")
    assert found.ok, found
    artifact = hqc.compile(path, target="host", output=folder / "build")
    expected = []
    for x in frames:
        functional.reset_net(net)
        with torch.no_grad():
            expected.append(net(x).numpy())
    logits = [artifact.run(x.numpy()) for x in frames]
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    assert np.ptp(expected, 0).max() > 0.01, "it says nothing"
