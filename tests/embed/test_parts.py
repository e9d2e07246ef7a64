"""One inference on several threads gives the bits of one, however its parts are called."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import hqc
from hqc.codegen.toolchain import Toolchain
from hqc.data.recordings import Recording
from hqc.execution import MODES, execute, link_runner
from hqc.packaging import package
from tests.conftest import needs_compiler
from tests.embed.programs import HERE, defined, linked
from tests.embed.test_checkers import FLAGS, PLAIN
from tests.networks import Network

STEPS = 3
SHAPES = {
    "odd": (5, 7),
    "line": (1, 9),
    "column": (9, 1),
    "few": (2, 6),
    "position": (1, 1),
}
"""Heights and widths; `few` has fewer rows than threads."""


def network(path, height, width):
    """Layers of all windows and widths that end in neurons, and in potentials that are added up."""
    rng = np.random.default_rng(height * 10 + width)
    net = Network((STEPS, 1, 2, height, width))

    def conv(x, channels_in, channels, kernel, bits):
        weights = net.quantized(rng.normal(size=(channels, channels_in, kernel, kernel)), bits)
        return net.op("Conv", x, weights, pads=[kernel // 2] * 4)

    def lif(x, channels):
        shape = (STEPS, channels, height, width)
        return net.view(net.lif(net.view(x, (STEPS, 1, *shape[1:])), v_threshold=0.3), shape)

    spikes = lif(conv(net.input(), 2, 8, 3, 8), 8)
    spikes = lif(conv(spikes, 8, 40, 3, 4), 40)
    stream = net.op("Add", conv(spikes, 40, 64, 1, 2), conv(spikes, 40, 64, 3, 4))
    stream = net.op("Add", stream, conv(lif(stream, 64), 64, 64, 3, 2))
    spikes = lif(conv(lif(stream, 64), 64, 96, 1, 4), 96)
    net.head(net.mean(net.view(spikes, (STEPS, 1, 96, height, width)), [0, 3, 4]), 96)
    return net.save(path)


@pytest.fixture(scope="module")
def models(once, tiny_model):
    """The networks of all shapes, and one with attention."""

    def make(folder):
        for name, size in SHAPES.items():
            network(folder / f"{name}.onnx", *size)
        (folder / "tiny.onnx").write_bytes(tiny_model.read_bytes())

    return once("parts-models", make)


def library(model, folder, threads, target="host"):
    """A library, called net, for so many threads."""
    return hqc.compile(model, target, folder, name="net", threads=threads)


def frames_of(artifact):
    shape = artifact.manifest["input"]["shape"]
    return [np.random.default_rng(i).poisson(1.5, shape).astype(np.float32) for i in range(3)]


def logits_of(artifact, frames):
    """What one thread gives."""
    logits = np.concatenate([artifact.run(x) for x in frames])
    assert len(np.unique(logits, axis=0)) > 1
    return logits


@pytest.mark.parametrize(
    ("name", "target"),
    [(name, "host") for name in (*SHAPES, "tiny")]
    + [(name, target) for name in ("odd", "line") for target in ("arm-a72", "rv32imc")],
)
def test_parts_that_are_computed_last_first_give_the_bits_of_one_thread(
    name, target, models, tmp_path
):
    model = models / f"{name}.onnx"
    one = library(model, tmp_path / "one", 1)
    frames = frames_of(one)
    expected = logits_of(one, frames)
    for threads in (2, 3) if target == "host" else (3,):
        shared = library(model, tmp_path / "shared", threads, target)
        runner = link_runner(Toolchain.of(shared.target), "net", shared.folder)
        for mode in MODES:
            for in_parts in (False, True):
                given = [Recording("", x) for x in frames]
                found = execute(
                    shared.target, runner, mode, given, expected.shape[1], in_parts=in_parts
                )
                np.testing.assert_array_equal(found, expected, err_msg=f"{threads}, {mode}")
        if target == "host":
            for count in range(1, threads + 1):
                found = np.concatenate([shared.run(x, threads=count) for x in frames])
                np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def odd(models, once):
    """Libraries of one network for three threads, by target."""

    def make(folder):
        (folder / "plain.hqt").write_text(PLAIN)
        for target in ("host", "arm-a72", str(folder / "plain.hqt")):
            made = folder / target.rpartition("/")[2].removesuffix(".hqt")
            library(models / "odd.onnx", made, 3, target)

    return once("parts-libraries", make)


def answer(command, library):
    """What parts.c says of 20 inferences of each recording."""
    frames = b"".join(x.tobytes() for x in frames_of(hqc.Artifact.open(library)))
    done = subprocess.run(command, input=frames, capture_output=True, check=True)
    assert not done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize("way", ["last", "created", "openmp", "pool"])
@pytest.mark.parametrize("target", ["host", "arm-a72"])
def test_every_way_of_calling_parts(way, target, odd, tmp_path):
    flags = [str(odd / target / "hqc_pthread.c"), "-pthread"]
    command = linked(target, odd / target, "parts.c", tmp_path / "program", *flags)
    assert answer([*command, way, "20"], odd / target) == "0 wrong of 60, shared\n"


def build(library, folder, *flags):
    """parts.c by gcc, with checked entries and kernels as they are."""
    files = [HERE / "parts.c", library / "net.c", library / "hqc_pthread.c", library / "libnet.a"]
    command = ["gcc", *FLAGS, f"-I{library}", *map(str, files), "-pthread", *flags]
    subprocess.run([*command, "-o", "program"], cwd=folder, check=True)
    return str(folder / "program")


@pytest.mark.parametrize("way", ["created", "pool"])
def test_threads_under_the_checker_of_threads(way, odd, tmp_path):
    program = build(odd / "host", tmp_path, "-fsanitize=thread")
    assert answer([program, way, "20"], odd / "host") == "0 wrong of 60, shared\n"


def test_threads_of_openmp(odd, tmp_path):
    program = build(odd / "host", tmp_path, "-fopenmp")
    assert answer([program, "openmp", "20"], odd / "host") == "0 wrong of 60, shared\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the target is x86")
def test_no_kernel_writes_what_another_part_touches(odd, tmp_path):
    """By helgrind, which follows every load and store of the kernels' machine code."""
    program = build(odd / "plain", tmp_path)
    command = ["valgrind", "-q", "--tool=helgrind", "--error-exitcode=9", program, "created", "4"]
    assert answer(command, odd / "plain") == "0 wrong of 12, shared\n"


def test_arenas_hold_what_each_thread_needs_for_itself(models, tmp_path):
    one, two, three = (library(models / "odd.onnx", tmp_path / str(n), n) for n in (1, 2, 3))
    assert [a.manifest["threads"] for a in (one, two, three)] == [1, 2, 3]
    assert [defined(a.folder)["THREADS"] for a in (one, two, three)] == [1, 2, 3]
    kernels = one.manifest["kernels"]
    shared = {k["name"] for k in kernels if "Conv" in k["op"] or k["op"] == "PotentialNeurons"}
    grew = set()
    for plan in ("run", "stream"):
        for first, *more in zip(
            *(a.manifest["areas"][plan] for a in (one, two, three)), strict=True
        ):
            lasts = first["kind"] == "potential" and plan == "stream"
            each = 0
            if first["name"] in shared and first["kind"] != "activation" and not lasts:
                each = -(-first["bytes"] // 64) * 64
                grew.add((plan, first["kind"]))
            assert [m["bytes"] - first["bytes"] for m in more] == [each, 2 * each], first
    assert grew == {("run", "scratch"), ("run", "potential"), ("stream", "scratch")}


def test_what_one_thread_does_is_not_shared(models, tmp_path):
    made = library(models / "odd.onnx", tmp_path / "one", 1)
    assert not list(made.folder.glob("hqc_*"))
    assert "set_threads" not in (made.folder / "net.h").read_text()


def test_numbers_of_threads_that_nobody_can_mean_are_refused(models, tmp_path, run_hqc):
    model = models / "position.onnx"
    made = library(model, tmp_path / "two", 2)
    frames = frames_of(made)[0]
    for threads in (0, -1, 3):
        with pytest.raises(hqc.UserError, match=f"{threads} threads cannot share") as error:
            made.run(frames, threads=threads)
        assert "--threads" in error.value.hint
    for threads in (0, 65):
        with pytest.raises(hqc.UserError, match=f"{threads} threads cannot share"):
            library(model, tmp_path / "none", threads)
    with pytest.raises(hqc.UserError, match="has one thread"):
        library(model, tmp_path / "none", 2, "wasm32")
    with pytest.raises(hqc.UserError, match="do not plan memory for 2 threads"):
        hqc.compile(model, "host", tmp_path / "none", passes="plan-memory", threads=2)
    assert not (tmp_path / "none").exists()
    done = run_hqc("profile", made.folder, "--threads", 3)
    assert done.returncode == 2
    assert "3 threads cannot share an inference" in done.stderr


@pytest.mark.parametrize("form", ["python", "rust"])
def test_packages_whose_calls_have_one_thread_are_refused(form, odd, tmp_path):
    with pytest.raises(hqc.UserError, match="the library is for 3: compile it without --threads"):
        package(hqc.Artifact.open(odd / "host"), form, tmp_path / form)


def test_what_threads_take_is_measured_beside_one(models, tmp_path, run_hqc):
    model, data = models / "line.onnx", tmp_path / "frames.npy"
    np.save(data, np.ones((STEPS, 1, 2, *SHAPES["line"]), np.float32))
    measured = ("--data", data, "--rounds", 1, "--json")
    done = run_hqc("bench", model, "--peers", "", "--threads", 2, *measured)
    found = json.loads(done.stdout)
    assert list(found) == ["hqc", "hqc, 2 threads"]
    assert all(timing["same_class"] == 1 for timing in found.values())
    made = library(model, tmp_path / "two", 2)
    done = run_hqc("profile", made.folder, "--threads", 2, *measured)
    kernels = json.loads(done.stdout)["kernels"]
    assert [k["name"] for k in kernels] == [k["name"] for k in made.manifest["kernels"]]
    assert all(k["milliseconds"] > 0 for k in kernels)
    done = run_hqc("bench", model, "--on", "host", "--threads", 2)
    assert done.returncode == 2
    assert "leave out --on" in done.stderr


@needs_compiler
def test_threads_of_a_program_in_cpp(odd, tmp_path):
    (tmp_path / "main.cc").write_text(
        """
        #include "hqc_openmp.h"
        #include "hqc_pthread.h"
        #include "net.hpp"
        static hqc::net_owner model;
        static hqc_pool pool;
        static float frames[NET_INPUT_SIZE], one[NET_OUTPUT_SIZE], many[NET_OUTPUT_SIZE];
        int main()
        {
            for (int i = 0; i < NET_INPUT_SIZE; i++) frames[i] = static_cast<float>(i % 3);
            if (model.run(frames, one) != hqc::status::ok) return 1;
            if (hqc_pool_start(&pool, NET_THREADS) != 0) return 2;
            if (model.set_threads(NET_THREADS, hqc_pool_run, &pool) != hqc::status::ok) return 3;
            if (model.run(frames, many) != hqc::status::ok) return 4;
            hqc_pool_stop(&pool);
            if (model.set_threads(NET_THREADS + 1, hqc_pool_run) != hqc::status::threads) return 5;
            for (int i = 0; i < NET_OUTPUT_SIZE; i++)
                if (one[i] != many[i]) return 6;
            return 0;
        }
        """
    )
    library = odd / "host"
    flags = ["-Wall", "-Wextra", "-Werror", f"-I{library}", "-pthread"]
    subprocess.run(["cc", *flags, "-c", library / "hqc_pthread.c"], cwd=tmp_path, check=True)
    command = ["c++", "-std=c++17", *flags, "main.cc", "hqc_pthread.o", library / "libnet.a"]
    subprocess.run([*command, "-o", "program"], cwd=tmp_path, check=True)
    assert subprocess.run(tmp_path / "program", check=False).returncode == 0


FORKED = """
import gc, os, sys
import numpy as np
import hqc

def threads():
    return len(os.listdir("/proc/self/task"))

artifact = hqc.Artifact.open(sys.argv[1])
frames = np.ones(artifact.manifest["input"]["shape"], np.float32)
expected = artifact.run(frames)
before = threads()
assert np.array_equal(artifact.run(frames, threads=3), expected)
assert threads() == before + 2
child = os.fork()
assert np.array_equal(artifact.run(frames, threads=3), expected)
assert threads() == (before if child else 1) + 2
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
del artifact
gc.collect()
assert threads() == (before if child else 1)
"""


def test_artifacts_end_their_threads_and_a_forked_process_starts_its_own(odd):
    command = [sys.executable, "-c", FORKED, odd / "host"]
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy's threads are not counted
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=alone, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
