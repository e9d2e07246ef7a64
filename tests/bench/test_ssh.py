"""Benchmarks over ssh: OpenSSH's server on a loopback port, boards under an emulator."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import time

import pytest

from tests.conftest import HQC, MODEL

QUICK = ("--seconds", 0.05)


def test_the_program_of_another_machine_runs_there_and_nothing_is_left(
    tiny_model, board, reach, run_hqc
):
    done = run_hqc("bench", tiny_model, "--on", reach(board), *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["target"], said["equal"], said["recordings"]) == ("arm-a72", 10, 10)
    assert said["device"]["architecture"] == "aarch64"
    assert said["median_ms"] >= said["fastest_ms"] > 0
    assert all(kernel["ms"] >= 0 for kernel in said["kernels"])
    assert list(board.files.iterdir()) == []


def test_a_machine_such_as_this_is_the_host(tiny_model, own_board, reach, run_hqc):
    done = run_hqc("bench", tiny_model, "--on", reach(own_board), *QUICK, "--cpu", 0)
    assert done.returncode == 0, done.stderr
    assert " for host on ssh://board" in done.stdout
    assert "  logits equal     10/10\n" in done.stdout
    assert list(own_board.files.iterdir()) == []


def refused(run_hqc, board, place, model, *arguments):
    done = run_hqc("bench", model, "--on", place, *QUICK, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert list(board.files.iterdir()) == []
    return done.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("rv64gc", "target rv64gc is for riscv64, the machine is aarch64"),
        ("armv7-a7", "target armv7-a7 is for armv7, the machine is aarch64"),
        ("cortex-m4", "target cortex-m4 is for machines without Linux"),
    ],
)
def test_targets_of_other_machines_are_refused(target, message, tiny_model, board, reach, run_hqc):
    said = refused(run_hqc, board, reach(board), tiny_model, "--target", target)
    assert f"hqc: error: {message}" in said
    assert "leave --target out" in said


def test_a_machine_that_lacks_what_this_one_has(tiny_model, own_board, reach, run_hqc):
    (own_board.folder / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu\n")
    said = refused(run_hqc, own_board, reach(own_board), tiny_model)
    assert "target host is this processor; that one lacks" in said
    assert "write a target file" in said


def test_a_machine_that_no_target_fits(tiny_model, board, reach, run_hqc):
    board.replace("uname", "[ $1 = -m ] && echo s390x || echo Linux")
    assert "no target of hqc fits a machine of s390x" in refused(
        run_hqc, board, reach(board), tiny_model
    )


def test_a_machine_without_linux(tiny_model, board, reach, run_hqc):
    board.replace("uname", "echo Darwin")
    assert "the machine runs no Linux: Darwin" in refused(run_hqc, board, reach(board), tiny_model)


def test_no_space_left(tiny_model, own_board, reach, run_hqc):
    """What is written to /dev/full finds the disk full."""
    own_board.replace(
        "mktemp", 'made=$(/bin/mktemp "$@") && ln -s /dev/full $made/tiny_bench && echo $made'
    )
    said = refused(run_hqc, own_board, reach(own_board), tiny_model)
    assert f"cannot copy the program to {own_board.files}: " in said
    assert "No space left on device" in said
    assert "hint: free some space there, or name another: --on ssh://board/FOLDER" in said


def test_no_folder_to_put_it_in(tiny_model, own_board, reach, run_hqc):
    said = refused(run_hqc, own_board, f"{reach(own_board)}/none", tiny_model)
    assert f"cannot copy the program to {own_board.files}/none: mktemp: failed" in said


def test_programs_may_not_run_from_there(tiny_model, own_board, reach, run_hqc):
    own_board.replace("chmod", "exec /bin/chmod 600 $2")
    said = refused(run_hqc, own_board, reach(own_board), tiny_model)
    assert "the benchmark did not run: " in said
    assert "Permission denied" in said
    assert f"hint: programs may not run from {own_board.files}" in said


def test_an_instruction_that_the_processor_does_not_have(tiny_model, own_board, reach, run_hqc):
    own_board.replace("chmod", "printf '#!/bin/sh\\nkill -ILL $$\\n' >$2; exec /bin/chmod 700 $2")
    said = refused(run_hqc, own_board, reach(own_board), tiny_model)
    assert "it met an instruction that the processor does not have" in said


def test_a_processor_that_is_not_there(tiny_model, own_board, reach, run_hqc):
    said = refused(run_hqc, own_board, reach(own_board), tiny_model, "--cpu", 1000)
    assert "tiny_bench: cannot run on processor 1000: Invalid argument" in said
    assert "hint: name another with --cpu" in said


def test_a_device_that_sleeps_while_it_measures(own_board, reach, run_hqc):
    own_board.replace(
        "emulator", '"$@" --seconds 1 & sleep 0.6; kill -STOP $!; sleep 4; kill -CONT $!; wait $!'
    )
    said = refused(run_hqc, own_board, reach(own_board), MODEL)
    assert "of them on a processor" in said
    assert "keep the device awake" in said


def test_a_connection_that_is_lost(tiny_model, own_board, reach, run_hqc):
    place = reach(own_board)
    (own_board.folder / "lose").touch()
    said = refused(run_hqc, own_board, place, tiny_model)
    assert "hqc: error: ssh://board: " in said
    assert "is left there" not in said  # a new connection removed it


def test_nobody_there(tiny_model, own_board, reach, run_hqc):
    reach(own_board)
    said = refused(run_hqc, own_board, "ssh://127.0.0.1:9", tiny_model)
    assert "ssh://127.0.0.1:9: ssh: connect to host 127.0.0.1 port 9: Connection refused" in said
    assert "hint: does sshd run there?" in said


def test_a_key_that_is_not_known(tiny_model, own_board, reach, run_hqc):
    place = reach(own_board)
    (own_board.folder / "key.pub").write_text("")
    said = refused(run_hqc, own_board, place, tiny_model)
    assert "Permission denied (publickey" in said
    assert "ssh-copy-id" in said


def test_a_passphrase_is_asked_for_at_a_terminal(tiny_model, own_board, reach, monkeypatch):
    place = reach(own_board)
    key = own_board.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key], check=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    process, terminal = pty.fork()
    if process == 0:
        os.execv(HQC[0], [*HQC, "bench", str(tiny_model), "--on", place, *map(str, QUICK)])
    shown = b""
    while b"passphrase" not in shown:
        shown += os.read(terminal, 4096)
    os.write(terminal, b"secret\n")
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while more := os.read(terminal, 4096):
            shown += more
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    assert b"logits equal     10/10" in shown


def test_ctrl_c_ends_the_program_and_removes_it(tiny_model, own_board, reach, tmp_path):
    process = subprocess.Popen(
        [*HQC, "bench", tiny_model, "--on", reach(own_board), "--seconds", "600"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (found := list(own_board.files.glob("*/pid"))) or not found[0].read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    number = int(found[0].read_text())
    os.kill(number, 0)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    assert "hqc: error: interrupted" in stderr
    assert list(own_board.files.iterdir()) == []
    while os.path.exists(f"/proc/{number}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
