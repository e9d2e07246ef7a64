"""The crate: builds, passes its own tests and gives the artifact's logits."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from hqc.packaging import package
from tests.packaging.ways import done, frames_for

needs_cargo = pytest.mark.skipif(not shutil.which("cargo"), reason="no cargo")


@needs_cargo
def test_the_crate_passes_its_tests_and_gives_the_same_logits(host_artifact, tmp_path):
    crate = tmp_path / "crate"
    package(host_artifact, "rust", crate)
    said = done("cargo", "test", "--offline", cwd=crate)
    assert said.count("... ok") == 3
    _, frames = frames_for(host_artifact)
    result = subprocess.run(
        ["cargo", "run", "--offline", "--quiet", "--example", "classify"],
        cwd=crate, input=frames.tobytes(), stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    label, logits = result.stdout.decode().split(" ", 1)
    expected = host_artifact.run(frames).reshape(-1)
    numbers = np.array(logits.strip("[]\n").split(","), np.float32)
    np.testing.assert_array_equal(numbers, expected)
    assert int(label) == expected.argmax()


@needs_cargo
def test_a_model_of_images_has_a_crate_without_events(tiny, tmp_path):
    """And a bare machine's has no std: its crate is checked for this machine, not linked."""
    crate = tmp_path / "crate"
    package(tiny("cortex-m4"), "rust", crate)
    source = (crate / "src" / "lib.rs").read_text()
    assert "run_events" not in source
    assert "run_image" not in source
    assert "run_bytes" in source
    assert "#![no_std]" in source
    done("cargo", "check", "--offline", cwd=crate)


IMAGE = """
use pictures::{Arena, Code, Model, INPUT_SCALE, INPUT_SIZE, STEP_INPUT_SIZE};

#[test]
fn an_image_gives_what_its_copies_give() {
    let mut arena = Box::new(Arena::new());
    let mut model = Model::new(&mut arena).unwrap();
    let codes: [Code; STEP_INPUT_SIZE] = core::array::from_fn(|i| (i * 37 % 256) as Code);
    let image = codes.map(|code| code as f32 * INPUT_SCALE);
    let frames: [f32; INPUT_SIZE] = core::array::from_fn(|i| image[i % STEP_INPUT_SIZE]);
    let copies: [Code; INPUT_SIZE] = core::array::from_fn(|i| codes[i % STEP_INPUT_SIZE]);
    assert_eq!(model.run_image(&image), model.run(&frames));
    assert_eq!(model.run_image_bytes(&codes), model.run_bytes(&copies));
    assert!(model.label().is_ok());
}
"""


@needs_cargo
def test_an_image_is_run_as_its_copies(pictures, tmp_path):
    package(pictures, "rust", tmp_path / "crate")
    (tmp_path / "crate" / "tests" / "image.rs").write_text(IMAGE)
    said = done("cargo", "test", "--offline", "--test", "image", cwd=tmp_path / "crate")
    assert "1 passed" in said
