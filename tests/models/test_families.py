"""The published families: their sizes, and that they compile to exact integers at any precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hqc.frontend.export import export
from hqc.models import meta_spikeformer, spike_driven, spikformer
from hqc.models.layers import MaskAttention, ProductAttention, RepConv, calibrate_batch_norm
from hqc.models.lif import LIF
from hqc.models.meta_spikeformer import MetaSpikeFormer
from hqc.models.spike_driven import SpikeDrivenTransformer
from hqc.quantize import apply_recipe
from hqc.verification import verify

T, SIZE = 3, 20


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (spikformer.spikformer_4_384, 9.32),
        (spikformer.spikformer_2_256, 2.57),
        (spikformer.spikformer_8_512, 29.68),
        (spike_driven.spike_driven_8_384, 16.81),
        (spike_driven.spike_driven_8_512, 29.68),
        (spike_driven.spike_driven_8_768, 66.34),
        (lambda: spike_driven.spike_driven_2_512(classes=100), 10.28),
        (meta_spikeformer.meta_spikeformer_15m, 15.1),
        (meta_spikeformer.meta_spikeformer_31m, 31.3),
        (meta_spikeformer.meta_spikeformer_55m, 55.4),
    ],
)
def test_parameters_are_those_published(make, millions):
    with torch.device("meta"):
        model = make()
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    last_digit = 0.1 if make.__module__.endswith("meta_spikeformer") else 0.01
    assert counted == pytest.approx(millions, abs=last_digit), counted


def spike_driven_network() -> SpikeDrivenTransformer:
    return SpikeDrivenTransformer(2, 5, dim=24, depth=1, ratio=2, pool=(True, True, False, True))


def meta_spikeformer_network() -> MetaSpikeFormer:
    return MetaSpikeFormer(
        2, 5, dims=(8, 12, 24, 40), depths=(1, 0), heads=4, ratio=2, first_kernel=3
    )


def calibrated(make, recipe):
    """A network of random weights that fires in every layer, quantized by a recipe."""
    torch.manual_seed(1)
    model, frames = make(), torch.poisson(torch.full((T, 8, 2, SIZE, SIZE), 0.5))
    for module in model.modules():
        if isinstance(module, LIF):
            module.v_threshold = 0.4
        if isinstance(module, ProductAttention):
            module.scale = 1.0
    calibrate_batch_norm(model, frames)
    apply_recipe(model, recipe)
    return calibrate_batch_norm(model, frames), frames


def rates(model, frames):
    """The firing rate of every layer of neurons."""
    found, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, LIF):
            hooks.append(
                module.register_forward_hook(
                    lambda _m, _x, y, name=name: found.__setitem__(name, float(y.mean()))
                )
            )
    with torch.no_grad():
        model.eval()(frames)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(
    ("make", "recipe", "target"),
    [
        (spike_driven_network, {"*.q.*": "2u", "*.k.*": "4l", "*mlp*": "3u", "*": "8u"}, "rv64gc"),
        (spike_driven_network, {"*mlp*": "12u", "*attention*": "fp32", "*": "16u"}, "arm-a72"),
        (meta_spikeformer_network, {"head.*": "8u", "*": "4u"}, "rv64gc"),
        (
            meta_spikeformer_network,
            {"*.q.*": "2l", "*.k.*": "12u", "*mlp*": "fp32", "*": "16u"},
            "arm-a72",
        ),
    ],
)  # fmt: skip
def test_membrane_shortcuts_compile_to_exact_integers(make, recipe, target, tmp_path):
    model, frames = calibrated(make, recipe)
    assert min(rates(model, frames).values()) > 0.002, rates(model, frames)
    file = tmp_path / "model.onnx"
    export(model, frames[:, :1], file)
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", frames[:, i : i + 1])
    found = verify(file, target, data=tmp_path)
    assert found.ok
    assert found.recordings == 3
    assert found.spikes > 30_000
    assert found.unexplained == {}
    assert found.spikes_differ or found.logits_error < 0.02


@pytest.mark.parametrize("training", [False, True])
def test_repconv_pads_with_what_batch_norm_gives_for_zero(training):
    torch.manual_seed(0)
    layer = RepConv(6)
    for _ in range(2):
        layer.train()(torch.rand(8, 6, 5, 5))
    x = (torch.rand(3, 6, 5, 5) < 0.3).float()
    padded_after = layer.eval()(x)
    if training:
        layer.mix_bn.momentum = layer.project_bn.momentum = 0.0
        layer.train()
        layer.mix_bn.eval(), layer.project_bn.eval()
        padded_after = layer(x)
    inner = layer.mix_bn(layer.mix(torch.nn.functional.pad(x, (1, 1, 1, 1))))
    expected = layer.project_bn(layer.project(layer.depthwise(inner)))
    torch.testing.assert_close(padded_after, expected)


def test_mask_attention_is_a_mask_of_channels():
    torch.manual_seed(0)
    model = MaskAttention(8)
    for neurons in (model.lif, model.q.lif, model.k.lif, model.v.lif, model.attention_lif):
        neurons.v_threshold = 0.3
    calibrate_batch_norm(model, torch.randn(T, 4, 8, 3, 3) * 3)
    seen = {}
    model.q.register_forward_hook(lambda _m, _x, y: seen.__setitem__("q", y))
    model.proj.register_forward_hook(lambda _m, x, _y: seen.__setitem__("masked", x[0]))
    model.eval()(torch.randn(T, 2, 8, 3, 3) * 3)
    masked = seen["masked"].unflatten(0, (T, 2))
    kept = masked.amax((3, 4), keepdim=True)
    assert 0 < kept.mean() < 1
    torch.testing.assert_close(masked, seen["q"] * (kept > 0))
