"""Running programs of other machines here."""

from __future__ import annotations

import shlex
import shutil
from importlib import resources
from pathlib import Path

from hqc.errors import ToolError
from hqc.targets import Target


def program_command(target: Target, program: Path, *arguments: str) -> list[str]:
    """The command that runs a program of a target here. Raises as `emulator_command` does."""
    command = [*emulator_command(target), str(program)]
    if target.board and arguments:
        return [*command, "-append", " ".join(arguments)]
    return [*command, *arguments]


def debian_package(emulator: str) -> str:
    """The Debian package that holds an emulator."""
    if emulator == "node":
        return "nodejs"
    return "qemu-system-arm" if emulator.startswith("qemu-system-") else "qemu-user"


def runs_here(target: Target) -> bool:
    """Whether programs of a target run on this machine, under an emulator or without."""
    command = shlex.split(target.emulate or "")
    return target.is_host or bool(command and shutil.which(command[0]))


def emulator_command(target: Target) -> list[str]:
    """What to put before a program of a target: nothing for the host.

    Raises `ToolError` for a target that names no emulator, or one that is not installed.
    """
    if target.is_host:
        return []
    if not target.emulate:
        raise ToolError(
            f"target {target.name} says no 'emulate': its programs do not run here",
            hint="name an emulator in a target that extends it, or use hqc compile",
        )
    runtimes = str(resources.files("hqc.runtimes"))
    command = [word.replace("{runtimes}", runtimes) for word in shlex.split(target.emulate)]
    if not shutil.which(command[0]):
        package = debian_package(command[0])
        raise ToolError(
            f"target {target.name} runs here under {command[0]}, which is not installed",
            hint=f"install it (Debian: apt install {package}), or see hqc doctor",
        )
    return command
