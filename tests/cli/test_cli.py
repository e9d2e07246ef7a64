"""The command line: every verb, and every bad input as one message with exit code 2."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from hqc import compiler, verification
from tests.conftest import HQC, MODEL, NMNIST
from tests.refusals.case import Small

SAMPLE = NMNIST / "sample"


def test_compile_and_run(run_hqc, tmp_path):
    done = run_hqc("compile", MODEL, "-o", "build")
    assert done.returncode == 0, done.stderr
    assert "build/libnmnist.a for host" in done.stdout
    assert "bits each on average" in done.stdout
    recording = sorted((SAMPLE / "3").glob("*.bin"))[1]
    done = run_hqc("run", "build", recording)
    assert done.stdout == f"{recording}: 3\n"
    done = run_hqc("run", "build", SAMPLE / "3", "--json")
    results = json.loads(done.stdout)
    assert results["accuracy"] == pytest.approx(10 / 11)
    assert len(results["results"][0]["logits"]) == 10
    names = [r["recording"] for r in results["results"]]
    assert names == sorted(names)
    for threads in (1, 3):
        again = run_hqc("run", "build", SAMPLE / "3", "--json", "--threads", threads)
        assert json.loads(again.stdout) == results
    np.save(tmp_path / "frames.npy", np.zeros((8, 2, 34, 34), np.float32))
    assert run_hqc("run", "build", "frames.npy").returncode == 0
    np.save(tmp_path / "spoiled.npy", np.full((8, 2, 34, 34), np.nan))
    done = run_hqc("run", "build", "frames.npy", "spoiled.npy", SAMPLE)
    assert done.returncode == 2
    assert "spoiled.npy: frames are not finite" in done.stderr


def test_run_takes_onnx_files(run_hqc):
    done = run_hqc("run", NMNIST / "fp32.onnx", SAMPLE / "1", "--summary")
    assert done.stdout.endswith("14/14 right, 100.00%\n")


def test_an_artifact_is_replaced_and_other_folders_are_not(tiny_model, run_hqc, tmp_path):
    for _ in range(2):
        assert run_hqc("compile", tiny_model, "-o", "build", "-q").stdout == ""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("irreplaceable")
    done = run_hqc("compile", tiny_model, "-o", "mine")
    assert done.returncode == 2
    assert "mine is not empty and was not made by hqc" in done.stderr
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "irreplaceable"


def test_dump_after_writes_models_that_check(tiny_model, run_hqc, tmp_path):
    done = run_hqc("compile", tiny_model, "--dump-after", "make-integer", "--verify-each")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "build-passes").iterdir()
    assert file.name == "06-make-integer.onnx"
    onnx.checker.check_model(onnx.load(file), full_check=True)


def test_verify_reports_and_exits_0(run_hqc):
    done = run_hqc("verify", MODEL, "--data", SAMPLE / "5")
    assert done.returncode == 0, done.stderr
    assert "compiled code equals integer model   7/7" in done.stdout
    assert "accuracy: float 100.00%, compiled 100.00%" in done.stdout


def test_verify_exits_1_when_something_differs(tiny_model, run_hqc, monkeypatch):
    true = verification.execute
    monkeypatch.setattr(verification, "execute", lambda *arguments: true(*arguments) + 1)
    done = run_hqc("verify", tiny_model)
    assert done.returncode == 1
    assert "compiled code equals integer model   0/5" in done.stdout


def test_bench_prints_ratios_of_all_peers(run_hqc):
    peers = "onnxruntime-fp32,onnxruntime-int8"
    done = run_hqc("bench", MODEL, "--peers", peers, "--rounds", 1, "--json")
    assert done.returncode == 0, done.stderr
    timings = json.loads(done.stdout)
    assert list(timings) == ["hqc", *peers.split(",")]
    assert timings["hqc"]["ratio"] == 1
    for timing in timings.values():
        assert timing["median_ms"] >= timing["fastest_ms"] > 0
    # What onnxruntime's int8 says depends on the processor: without VNNI its logits move a lot.
    for name in ("hqc", "onnxruntime-fp32"):
        assert timings[name]["same_class"] >= 9


def test_targets_doctor_and_passes(run_hqc):
    assert "arm-a72        Cortex-A72: Raspberry Pi 4" in run_hqc("targets").stdout
    names = {t["name"] for t in json.loads(run_hqc("targets", "--json").stdout)["targets"]}
    assert {"host", "arm-a72", "rv64gc"} <= names
    rows = {r["name"]: r for r in json.loads(run_hqc("doctor", "--json").stdout)}
    assert rows["apache-tvm"]["found"].startswith("0.27")
    assert "make-integer{mode=auto,potential_bits=32}" in run_hqc("passes").stdout


def test_doctor_says_what_is_missing(run_hqc, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    done = run_hqc("doctor")
    assert re.search(r"emulator of arm-a72 +missing: apt install qemu-user", done.stdout)
    assert re.search(r"emulator of cortex-m4 +missing: apt install qemu-system-arm", done.stdout)


@pytest.mark.parametrize(
    "verb",
    ["bench", "compile", "completion", "doctor", "package", "passes", "run", "targets", "verify"],
)
def test_help_has_examples(verb, run_hqc):
    assert f"hqc {verb}" in run_hqc(verb, "--help").stdout.split("Examples:")[1]


def test_completion_offers_targets(run_hqc, monkeypatch):
    assert "_HQC_COMPLETE=bash_complete" in run_hqc("completion", "bash").stdout
    monkeypatch.setenv("_HQC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "hqc compile --target arm-a")
    monkeypatch.setenv("COMP_CWORD", "3")
    program = "import sys; sys.argv = ['hqc']; from hqc.cli import cli; cli.main(prog_name='hqc')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "plain,arm-a72" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["compile", "none.onnx"], ["cannot read none.onnx: No such file"]),
        (["compile", "/dev/zero"], ["cannot read /dev/zero: it is a device, not a file"]),
        (["compile", MODEL, "--target", "/dev/zero.hqt"], ["cannot read the target file"]),
        (["compile", MODEL, "--name", "hqc"], ["'hqc' would give files", "--name m_hqc"]),
        (["compile", MODEL, "--name", "Net"], ["'Net' is not in lower case", "--name net"]),
        (["run", "/dev/zero", "cut.onnx"], ["/dev/zero is not a compiled model"]),
        (["compile", "cut.onnx"], ["cut.onnx is not an ONNX model, or is cut short", "hint:"]),
        (["compile", MODEL, "--target", "arm-a722"], ["did you mean 'arm-a72'?", "targets are:"]),
        (["compile", MODEL, "--target", "x.hqt"], ["cannot read the target file x.hqt"]),
        (["compile", MODEL, "-o", "file"], ["file is a file", "give a directory"]),
        (["compile", MODEL, "-o", "."], ["cannot be the current directory", "-o build"]),
        (["compile", MODEL, "-o", "file/build"], ["check the path"]),
        (["compile", MODEL, "--name", "3d"], ["--name '3d' is not a C identifier"]),
        (["compile", MODEL, "--bind", "batch"], ["'batch' is not NAME=SIZE"]),
        (["compile", MODEL, "--bind", "batch=1"], ["no dimension 'batch'"]),
        (["compile", MODEL, "--passes", "fold-batchnorm"], ["did you mean 'fold-batch-norm'?"]),
        (["compile", MODEL, "--passes", "fold-batch-norm"], ["does not end in plan-memory"]),
        (["compile", MODEL, "--dump-after", "pack"], ["no pass 'pack'"]),
        (["compile", "tiny.onnx", "--cc", "no-such-cc"], ["cannot start 'no-such-cc'", "doctor"]),
        (["compile", "tiny.onnx", "--cc", "false"], ["failed with exit code 1", "--cc"]),
        (["compile", MODEL, "--calibrate", "none"], ["there is no none"]),
        (["compile"], ["Missing argument 'MODEL'"]),
        (["compil", MODEL], ["No such command 'compil'"]),
        (["run", "file", "cut.onnx"], ["file is not a compiled model"]),
        (["run", MODEL, "short.bin", "--threads", 0], ["0 is not in the range x>=1"]),
        (["run", MODEL, "short.bin"], ["short.bin: 7 bytes is not a whole number of 5-byte"]),
        (["run", MODEL, "far.bin"], ["lies outside the model's 34 x 34 sensor"]),
        (["run", MODEL, "small.npy"], ["small.npy: frames [2, 2]", "are not [8, 1, 2, 34, 34]"]),
        (["run", MODEL, "names.npy"], ["names.npy"]),
        (["run", MODEL, "cut.onnx"], ["recordings are .bin (events), images, .npy or .npz"]),
        (["run", MODEL, "empty"], ["empty holds no .bin, .npy, .npz or image"]),
        (["verify", MODEL, "--data", "none"], ["there is no none"]),
        (["bench", MODEL, "--peers", "onnxruntime-int4"], ["did you mean 'onnxruntime-int8'?"]),
        (["targets", "--jason"], ["No such option"]),
    ],
    ids=lambda part: " ".join(str(p).split("/")[-1] for p in part),
)
def test_bad_input_is_one_message_and_exit_code_2(
    arguments, messages, tiny_model, run_hqc, tmp_path
):
    shutil.copy(tiny_model, tmp_path)
    (tmp_path / "cut.onnx").write_bytes(MODEL.read_bytes()[:999])
    (tmp_path / "file").write_text("a file")
    (tmp_path / "short.bin").write_bytes(b"1234567")
    (tmp_path / "far.bin").write_bytes(bytes([200, 3, 0, 0, 1]))
    np.save(tmp_path / "small.npy", np.zeros((2, 2)))
    np.save(tmp_path / "names.npy", np.array(["a", "b"]))
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    done = run_hqc(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for message in messages:
        assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_the_users_and_leaves_nothing(run_hqc_alone, tmp_path):
    """A limit on the size of files stands in for the disk: writing fails part of the way."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = run_hqc_alone("compile", MODEL, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "hqc: error:" in done.stderr
    assert "hqc: hint: free some space" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        [*HQC, "compile", str(MODEL)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # Background jobs of a shell are started with the signal ignored; a terminal's are not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    assert "hqc: error: interrupted; no output was written" in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_our_own_faults_exit_1_and_say_how_to_report_them(run_hqc, monkeypatch):
    def broken(*_arguments):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(compiler, "load_model", broken)
    done = run_hqc("compile", MODEL)
    assert done.returncode == 1
    assert "hqc: error: ZeroDivisionError: a fault" in done.stderr
    assert "please report it" in done.stderr
    monkeypatch.setenv("HQC_TRACEBACK", "1")
    assert "Traceback" in run_hqc("compile", MODEL).stderr


def test_plain_kernels_are_named(tiny_model, run_hqc, tmp_path):
    assert "plain" not in run_hqc("compile", tiny_model, "-o", "build").stdout
    net = Small(tmp_path)
    flipped = net.op("Transpose", net.spikes(), perm=[0, 1, 3, 2], name="flipped")
    net.end(net.lif(net.op("Conv", flipped, net.weights(6, 6, 3, 3), pads=[1] * 4, name="conv")))
    done = run_hqc("compile", net.save(net.path), "-o", "build-plain")
    assert "\n  plain    1 of " in done.stdout
    assert "kernels, 0.0 % of the multiply-accumulates: conv (RearrangeSpikes)" in done.stdout
    done = run_hqc("compile", net.path, "-o", "build-plain", "--explain")
    shares = re.findall(r"\n +([\d.]+) % (\S+) \((\w+)\)", done.stdout)
    assert sum(float(share) for share, *_ in shares) == pytest.approx(100, abs=0.3)
    assert "0.0 % conv (RearrangeSpikes): plain, numbers do not lie as" in done.stdout
