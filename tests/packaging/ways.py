"""What the tests of ways into a program share: programs that are built from an empty folder."""

from __future__ import annotations

import shlex
import subprocess

import numpy as np

from hqc.codegen.toolchain import Toolchain
from tests.conftest import ROOT

EXAMPLE = ROOT / "examples" / "embed_c"
RECORDING = ROOT / "examples" / "nmnist" / "sample" / "3" / "60031.bin"
"""A recording of a 3."""


def done(*command, cwd, **kwargs):
    """What a command prints; its errors are shown where it fails."""
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, **kwargs
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def frames_for(artifact, seed=0):
    """Codes of a random input, and the frames that they stand for."""
    said = artifact.manifest["input"]
    codes = np.random.default_rng(seed).integers(0, 3, said["shape"], np.uint8)
    return codes, (codes * np.float32(said["codes"]["scale"])).astype(np.float32)


def compiler_of(target, path):
    """A command that compiles and links C for a target, with an operating system to run it."""
    command = shlex.join(Toolchain.of(target).program_compiler)
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path


def class_of_nothing(artifact):
    """The class of frames that are zero, as the examples in packages have them."""
    return int(artifact.run(np.zeros(artifact.manifest["input"]["shape"])).argmax())
