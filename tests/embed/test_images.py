"""One image in place of a copy for every time step gives what the copies give, in every bit."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from hqc.classes import class_of
from hqc.data.recordings import read_recordings
from tests.conftest import ROOT
from tests.embed.programs import (
    CODE,
    NOT_READY,
    OK,
    STEPS,
    UNTOUCHED,
    Calls,
    compiled,
    defined,
    floats,
    linked,
    shown,
    small_network,
)
from tests.embed.test_archives import objects, symbols_of
from tests.embed.test_calls import as_codes
from tests.networks import Network

CIFAR10 = ROOT / "examples" / "cifar10"
TARGETS = ["host", "arm-a72", "rv32imc", "cortex-m4", "cortex-m0plus"]
NETWORKS = {
    "odd": {},
    "rows": {"scale": 0.75, "rows": STEPS},
    "signed": {"scale": 2.5, "signed": 1},
    "once": {"steps": 1},
    "narrow": {"scale": 9.0, "bits": 4},
}


@pytest.fixture(scope="module")
def libraries(once):
    def make(folder):
        for name, options in NETWORKS.items():
            model = small_network(folder / f"{name}.onnx", kind="image", **options)
            for target in TARGETS:
                compiled(model, target, folder / f"{name}-{target}")

    return once("images", make)


def extremes(size):
    """Images that are black, white, far beyond either, and of what is no pixel."""
    edges = np.array([np.nan, np.inf, -np.inf, -0.0, 0.5, 1.5, 254.5, 1e-40], np.float32)
    pixels = np.resize(edges, size)
    return np.stack([*np.multiply.outer([0.0, 255.0, 1e38, -1e38], np.ones(size)), pixels])


def check_images(target, library, images, folder):
    """The logits [images, outputs] of images [images, numbers], after every call gave the same."""
    calls = Calls(library)
    steps = int(calls.sizes["TIME_STEPS"])
    others = np.random.default_rng(8).uniform(0, 255, (steps, images.shape[1])).astype(np.float32)
    asked = [(calls("i"), "i")]
    for image in images.astype(np.float32):
        codes = as_codes(np.nan_to_num(image, posinf=1e38, neginf=-1e38), calls.sizes)
        given = {"R": [image] * steps, "W": [image], "B": [codes] * steps, "w": [codes]}
        for letter in "RWBw":
            asked.append((calls("R", others), "other"))  # so that its codes lie in the arena
            asked.append((calls(letter, np.stack(given[letter])), letter))
            asked.append((calls("c"), "c"))
    answers = calls.answers(linked(target, library, "calls.c", folder))
    assert {answers[at][0] for at, _ in asked} == {OK}
    found = {k: np.stack([answers[at][1] for at, letter in asked if letter == k]) for k in "RWBwc"}
    assert np.array_equal(found["R"], found["W"])
    assert np.array_equal(found["B"], found["w"])
    logits, classes = floats(found["W"]), int(calls.sizes["CLASSES"])
    labels = np.array([class_of(x, classes) for x in logits])
    assert np.array_equal(found["c"][:, 0].reshape(-1, 4), np.stack([labels] * 4, 1))
    return logits


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_gives_what_its_copies_give(name, target, libraries, tmp_path):
    library = libraries / f"{name}-{target}"
    size = int(defined(library)["STEP_INPUT_SIZE"])
    drawn = np.random.default_rng(7).normal(0, 100, (12, size))
    logits = check_images(target, library, np.concatenate([extremes(size), drawn]), tmp_path)
    assert len(np.unique(logits, axis=0)) > 5


@pytest.mark.parametrize("target", ["host", "arm-a72"])
def test_pictures_give_what_their_copies_give(target, once, tmp_path):
    model = CIFAR10 / "model.onnx"
    library = once(f"pictures-{target}", lambda f: compiled(model, target, f / "net")) / "net"
    said = {"kind": "image", "time_steps": 2, "height": 32, "width": 32}
    pictures = read_recordings(CIFAR10 / "sample", (2, 1, 3, 32, 32), said, 10)
    images = np.stack([r.frames[0].reshape(-1) for r in pictures])
    images = np.concatenate([images, extremes(images.shape[1])])
    logits = check_images(target, library, images, tmp_path)
    assert sum(x.argmax() == r.label for x, r in zip(logits, pictures, strict=False)) >= 7


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_ends_streaming_and_leaves_nothing_to_it(target, libraries, tmp_path):
    calls, rng = Calls(library := libraries / f"odd-{target}"), np.random.default_rng(9)
    size = int(calls.sizes["STEP_INPUT_SIZE"])
    frames, image = rng.normal(0, 100, (2, STEPS, size)).astype(np.float32)

    def streamed():
        calls("r")
        for frame in frames:
            calls("s", frame)
        return calls("g")

    before = calls("W", image[0]), calls("w", as_codes(image[0], calls.sizes))
    calls("i")
    first = streamed()
    calls("r")
    calls("s", frames[0])
    at_once = calls("W", image[0])
    refused = calls("s", frames[1]), calls("g")
    again, once_more = streamed(), calls("W", image[0])
    answers = calls.answers(linked(target, library, "calls.c", tmp_path))
    for at in (*before, *refused):
        assert answers[at][0] == NOT_READY
        assert (answers[at][1] == UNTOUCHED).all()
    assert [answers[at][0] for at in (first, at_once, again, once_more)] == [OK] * 4
    assert np.array_equal(answers[first][1], answers[again][1])
    assert np.array_equal(answers[at_once][1], answers[once_more][1])
    assert not np.array_equal(answers[first][1], answers[at_once][1])


@pytest.mark.parametrize("target", TARGETS)
def test_codes_outside_are_refused_and_change_nothing(target, libraries, tmp_path):
    calls = Calls(library := libraries / f"narrow-{target}")
    image = np.random.default_rng(2).integers(0, 16, int(calls.sizes["STEP_INPUT_SIZE"]), np.uint8)
    outside = image.copy()
    outside[-1] = 16
    calls("i")
    first = calls("w", image)
    refused = calls("w", outside)
    label = calls("c")
    answers = calls.answers(linked(target, library, "calls.c", tmp_path))
    assert [answers[at][0] for at in (first, refused, label)] == [OK, CODE, OK]
    assert (answers[refused][1] == UNTOUCHED).all()
    scale = calls.sizes["LOGIT_SCALE"]
    logits = (answers[first][1].view(np.int32) * scale).astype(np.float32)
    assert answers[label][1][0] == class_of(logits, int(calls.sizes["CLASSES"]))


_NULL = """
#include "net.h"
HQC_ALIGNED static uint8_t arena[NET_ARENA_BYTES];
static float image[NET_STEP_INPUT_SIZE];
static const net_code codes[NET_STEP_INPUT_SIZE];
int main(void)
{
    net_t model;
    int32_t label;
    if (net_init(&model, arena, sizeof arena) != HQC_OK) return 1;
    if (net_run_image(NULL, image, NULL) != HQC_ERROR_NULL) return 2;
    if (net_run_image_bytes(NULL, codes, NULL) != HQC_ERROR_NULL) return 3;
    if (net_run_image(&model, NULL, NULL) != HQC_ERROR_NULL) return 4;
    if (net_run_image_bytes(&model, NULL, NULL) != HQC_ERROR_NULL) return 5;
    if (net_classify(&model, &label) != HQC_ERROR_NOT_READY) return 6;
    if (net_run_image(&model, image, NULL) != HQC_OK) return 7;
    if (net_run_image_bytes(&model, codes, NULL) != HQC_OK) return 8;
    return net_classify(&model, &label) == HQC_OK ? 0 : 9;
}
"""


@pytest.mark.parametrize("name", ["odd", "once"])
def test_what_is_null(name, libraries, tmp_path):
    (tmp_path / "main.c").write_text(_NULL)
    library = libraries / f"{name}-host"
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    command += ["main.c", str(library / "net.c"), str(library / "libnet.a"), f"-I{library}"]
    subprocess.run([*command, "-o", "main"], cwd=tmp_path, check=True)
    assert subprocess.run(tmp_path / "main", check=False).returncode == 0


def two_quantizers(path):
    """Frames that are quantized twice: there is no one array of codes."""
    net = Network((STEPS, 1, 2, 5, 6))
    halves = [net.input(scale) for scale in (1.0, 3.0)]
    rng = np.random.default_rng(3)
    weights = [net.quantized(rng.normal(size=(8, 2, 3, 3)), bits=4) for _ in halves]
    sums = [net.op("Conv", x, w, pads=[1] * 4) for x, w in zip(halves, weights, strict=True)]
    spikes = net.lif(net.view(net.op("Add", *sums), (STEPS, 1, 8, 5, 6)))
    net.head(net.mean(spikes, [0, 3, 4]), 8)
    return shown(net.save(path), "image")


ENTRIES = {"net_run_image", "net_run_image_bytes"}


def entries_of_images(library, folder):
    """Those that header and archive have."""
    found = {
        name
        for made in objects(library, folder)
        for name, is_defined, is_global, _ in symbols_of(made)
        if is_defined and is_global and "image" in name
    }
    header = (library / "net.h").read_text()
    assert found == {name for name in ENTRIES if f"{name}(" in header}
    assert ("NET_TAKES_IMAGES" in header) == bool(found)
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_models_of_images_have_the_entries_and_no_larger_arena(target, libraries, tmp_path):
    library = libraries / f"odd-{target}"
    assert entries_of_images(library, tmp_path / "objects") == ENTRIES
    other = compiled(small_network(tmp_path / "net.onnx"), target, tmp_path / "net")
    assert entries_of_images(other, tmp_path / "others") == set()
    for plan in ("ARENA_BYTES", "STREAM_ARENA_BYTES"):
        assert defined(library)[plan] == defined(other)[plan]


def test_other_models_have_no_such_entry(tiny_libraries, tmp_path):
    """One that says nothing of its frames, and one of images without one array of codes."""
    assert entries_of_images(tiny_libraries / "host", tmp_path / "tiny") == set()
    library = compiled(two_quantizers(tmp_path / "net.onnx"), "host", tmp_path / "net")
    assert "run_bytes" not in (library / "net.h").read_text()
    assert entries_of_images(library, tmp_path / "twice") == set()
