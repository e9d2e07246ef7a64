"""A short run of calls of a library's entries, and that a fault among them is noticed."""

from __future__ import annotations

import subprocess

import pytest

from tests.embed.programs import small_network
from tests.fuzz import c_api


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return c_api.build(tmp_path_factory.mktemp("c_api"))


def test_any_calls(program):
    c_api.run(program, 3000, seed=11)


def test_any_calls_of_a_model_of_images(tmp_path):
    model = small_network(tmp_path / "images.onnx", kind="image", signed=1, bits=4)
    c_api.run(c_api.build(tmp_path, model), 3000, seed=11)


FAULTS = {
    "status": ("model->time_step >= NET_TIME_STEPS ? ", "model->time_step > NET_TIME_STEPS ? "),
    "memory": ("#define STEP_LOGITS ", "#define STEP_LOGITS 64u + "),
    "logits": (
        "forward(model, run_areas, frames, 0,",
        "forward(model, run_areas, frames, model->logits > 64 ? 1 : 0,",
    ),
    "weights": ("if (hash == WEIGHTS_HASH)", "if (hash)"),
    "events": ("events[i].y >= NET_HEIGHT", "events[i].y > NET_HEIGHT"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(fault, program):
    folder = program.parent
    right, wrong = FAULTS[fault]
    text = (folder / "net" / "net.c").read_text()
    assert right in text
    (folder / "net" / "net.c").write_text(text.replace(right, wrong))
    try:
        with pytest.raises(subprocess.CalledProcessError):
            c_api.run(c_api.linked(folder, folder / "faulty"), 3000, seed=11)
    finally:
        (folder / "net" / "net.c").write_text(text)
