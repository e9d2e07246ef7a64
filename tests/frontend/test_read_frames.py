"""What reads frames before any layer: normalization, pools, parts, neurons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hqc
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.models.lif import LIF
from hqc.quantize import apply_recipe
from hqc.reference import run_reference
from tests.conftest import needs_compiler

T, C, SIZE, D = 3, 3, 8, 12
MEAN, STD = (
    torch.tensor([0.4, 0.5, 0.6]).view(C, 1, 1),
    torch.tensor([0.2, 0.25, 0.3]).view(C, 1, 1),
)


def images(layer):
    """A layer of images [N, C, H, W] on frames [T, 1, C, H, W]."""
    return lambda net, x: layer(net, x.flatten(0, 1)).unsqueeze(1)


READERS = {
    "normalized by color": lambda net, x: (x - MEAN) / STD,
    "centered": lambda net, x: 2 * x - 1,
    "BatchNorm": images(lambda net, x: net.norm(x)),
    "a max pool": images(lambda net, x: F.max_pool2d(x, 2)),
    "an average pool": images(lambda net, x: F.avg_pool2d(x, 3, 2)),
    "cropped": lambda net, x: x[..., 1:6, 1:-1],
    "padded": lambda net, x: F.pad(x, (1, 2, 1, 0)),
    "enlarged": images(lambda net, x: F.interpolate(x, scale_factor=2)),
    "colors in another order": lambda net, x: x[:, :, [2, 1, 0]],
    "beside its mirror image": lambda net, x: torch.cat([x, x.flip(-1)], -1),
    "with its mirror image": lambda net, x: x + x.flip(-1),
    "neurons": lambda net, x: net.first(x),
    "neurons of many numbers": lambda net, x: net.first(x.reshape(T, 1, -1)).reshape(x.shape),
}


class Reads(nn.Module):
    """Frames, something, a convolution with neurons, a head."""

    def __init__(self, reader):
        super().__init__()
        torch.manual_seed(0)
        self.reader, self.norm, self.first = reader, nn.BatchNorm2d(C), LIF(v_threshold=0.4)
        nn.init.uniform_(self.norm.running_mean, 0.2, 0.6)
        nn.init.uniform_(self.norm.weight, -1.0, 2.0)
        self.conv, self.lif = nn.Conv2d(C, D, 3, padding=1), LIF(v_threshold=0.1)
        self.head = nn.Linear(D, 5)

    def forward(self, x):
        y = self.conv(self.reader(self, x).flatten(0, 1)).unsqueeze(1)
        return self.head(self.lif(y).mean((0, 3, 4)))


@needs_compiler
@pytest.mark.parametrize("name", READERS)
def test_frames_may_be_read_by_anything(name, tmp_path):
    net = apply_recipe(Reads(READERS[name]).eval(), {"*": "4u"})
    frames = [torch.randint(0, 256, (T, 1, C, SIZE, SIZE)).float() / 255 for _ in range(2)]
    export(net, frames, tmp_path / "net.onnx")
    found = hqc.verify(tmp_path / "net.onnx", "host")
    assert found.ok, found
    artifact = hqc.compile(tmp_path / "net.onnx", target="host", output=tmp_path / "build")
    logits = []
    for x in frames:
        with torch.no_grad():
            expected = net(x).numpy().reshape(-1)
        logits.append(artifact.run(x.numpy()).reshape(-1))
        np.testing.assert_allclose(logits[-1], expected, atol=1e-4 * np.abs(expected).max())
    assert not np.array_equal(*logits)


class Numbers(nn.Module):
    """Numbers that are given to neurons, then a linear layer: no layer reads them first."""

    def __init__(self, inputs):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.first = nn.BatchNorm1d(inputs), LIF(v_threshold=0.4)
        nn.init.uniform_(self.norm.running_mean, 0.2, 0.6)
        self.head = nn.Linear(inputs, 5)

    def forward(self, x):
        return self.head(self.first(self.norm(x.flatten(0, 1)).unsqueeze(1))).mean((0, 1))


@needs_compiler
@pytest.mark.parametrize("inputs", [97, 150])
def test_many_numbers_may_be_read_by_anything(inputs, tmp_path):
    net = apply_recipe(Numbers(inputs).eval(), {"*": "4u"})
    frames = [torch.randint(0, 256, (T, 1, inputs)).float() / 255 for _ in range(2)]
    export(net, frames, tmp_path / "net.onnx")
    found = hqc.verify(tmp_path / "net.onnx", "host")
    assert found.ok, found


REPEATED = {
    "ahead": lambda x: x.unsqueeze(0).repeat(T, 1, 1, 1, 1),
    "behind the batch": lambda x: x.unsqueeze(1).repeat(1, T, 1, 1, 1).transpose(0, 1),
    "expanded": lambda x: x.expand(T, -1, -1, -1).unsqueeze(1),
    "stacked": lambda x: torch.stack([x] * T),
}
STEMS = {
    "a convolution": nn.Identity(),
    "ReLU": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "a slope": nn.LeakyReLU(0.2),
    "an average pool": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
}


class Repeats(Reads):
    """An image, layers without neurons, whose result is repeated over time."""

    def __init__(self, stem, repeat):
        super().__init__(None)
        self.norm, self.stem, self.repeat = nn.BatchNorm2d(D), stem, repeat

    def forward(self, x):
        y = self.repeat(self.stem(self.norm(self.conv(2 * x - 1))))
        return self.head(self.lif(y).mean((0, 3, 4)))


@needs_compiler
@pytest.mark.parametrize(
    ("stem", "repeat"), [*((s, "ahead") for s in STEMS), *(("ReLU", r) for r in REPEATED)]
)
def test_an_image_may_be_repeated_behind_its_first_layers(stem, repeat, tmp_path):
    net = apply_recipe(Repeats(STEMS[stem], REPEATED[repeat]).eval(), {"*": "8u"})
    image = torch.randint(0, 256, (1, C, SIZE, SIZE)).float() / 255
    export(net, image, tmp_path / "net.onnx")
    assert hqc.verify(tmp_path / "net.onnx", "host").ok
    artifact = hqc.compile(tmp_path / "net.onnx", output=tmp_path / "build")
    with torch.no_grad():
        expected = net(image).numpy()
    found = artifact.run(np.broadcast_to(image.numpy(), (T, 1, C, SIZE, SIZE)))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)


def test_an_image_may_be_read_by_a_layer_itself(tmp_path):
    """Of an image without time, as stock exporters write a network of one step."""
    net = nn.Sequential(nn.Conv2d(C, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    image = torch.rand(1, C, SIZE, SIZE)
    with torch.no_grad():
        torch.onnx.export(net, (image,), tmp_path / "net.onnx", dynamo=True, verbose=False)
        expected = net(image).numpy()
    model = load_model(tmp_path / "net.onnx")
    save_model(model, tmp_path / "loaded.onnx")
    (frames,) = model.graph.inputs
    given = {frames.name: image.reshape(1, 1, C, SIZE, SIZE).numpy()}
    np.testing.assert_allclose(run_reference(model, given)[0], expected, atol=1e-5)


@needs_compiler
def test_neurons_on_frames_fire_as_float64_says(tmp_path):
    """Of pixels at a threshold to one part in ten million, which potentials would round."""
    torch.manual_seed(0)
    net = nn.Sequential(LIF(v_threshold=83 / 510), nn.Flatten(2), nn.Linear(C * SIZE**2, 5))
    frames = torch.full((T, 1, C, SIZE, SIZE), 83 / 255)
    frames[:, :, :, ::2] = 82 / 255
    model = nn.Sequential(*net, _Mean()).eval()
    export(model, frames, tmp_path / "net.onnx")
    artifact = hqc.compile(tmp_path / "net.onnx", output=tmp_path / "build")
    with torch.no_grad():
        expected = model(frames).numpy()
    found = artifact.run(frames.numpy()).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)


class _Mean(nn.Module):
    def forward(self, x):
        return x.mean(0)
