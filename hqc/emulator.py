"""Running programs of other machines here."""

from __future__ import annotations

import shlex
import shutil

from hqc.errors import ToolError
from hqc.targets import Target


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
    command = shlex.split(target.emulate)
    if not shutil.which(command[0]):
        raise ToolError(
            f"target {target.name} runs here under {command[0]}, which is not installed",
            hint="install it (Debian: apt install qemu-user), or see hqc doctor",
        )
    return command
