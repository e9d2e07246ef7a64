"""Place: an Android device that the system's adb reaches."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from hqc.bench.on.linux import bench_on, call
from hqc.bench.on.place import Job, Result, place
from hqc.errors import ToolError, UserError

_STATES = {
    "unauthorized": "unlock it and allow debugging by this computer",
    "offline": "take the cable out and in again, or: adb reconnect",
    "no permissions": "see https://developer.android.com/tools/device (udev rules)",
}


def _find(serial: str | None) -> str:
    """The serial number of the device to use. Raises `UserError`."""
    done = call(["adb", "devices"], 60)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it says nothing"]
        raise ToolError(f"adb devices failed: {said[-1]}", hint="try: adb kill-server")
    lines = [line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line]
    states = {name: state for name, state in lines if serial in (None, name)}
    if not states:
        raise UserError(
            f"adb sees no device {serial}" if serial else "adb sees no device",
            hint="connect it and allow USB debugging in its developer options; see adb devices",
        )
    if len(states) > 1:
        raise UserError(
            f"adb sees {len(states)} devices: {', '.join(states)}",
            hint="choose one: --on adb:SERIAL",
        )
    ((found, state),) = states.items()
    if state != "device":
        hints = (hint for text, hint in _STATES.items() if state.startswith(text))
        raise UserError(f"the device {found} is {state}", hint=next(hints, "see adb devices"))
    return found


_LOST = ("error: ", "adb: error: failed to get feature set", "adb: device ")


class _Adb:
    folder = "/data/local/tmp"
    elsewhere = "there is no other that adb may use; is it the device's owner that is signed in?"

    def __init__(self, serial: str) -> None:
        self._serial = serial
        self.product = self.shell("getprop ro.product.model", 60).stdout.strip() or None

    def shell(self, command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return self._adb("shell", command, seconds=seconds)

    def put(self, file: Path, path: str) -> subprocess.CompletedProcess[str]:
        return self._adb("push", str(file), path)

    def _adb(
        self, *arguments: str, seconds: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Raises `UserError` where adb itself failed, which no exit code of its own says."""
        done = call(["adb", "-s", self._serial, *arguments], seconds)
        said = done.stderr.strip()
        if done.returncode and said.startswith(_LOST):
            raise UserError(
                f"the connection to the device {self._serial} was lost: {said}",
                hint="keep the cable in and the device awake; see adb devices",
            )
        return done


@place("adb[:SERIAL]", r"adb(:\S+)?")
def run(name: str, job: Job) -> Result:
    """The device on the cable, or that of a serial number."""
    if not shutil.which("adb"):
        raise ToolError("there is no adb here", hint="install it (Debian: apt install adb)")
    return bench_on(_Adb(_find(name.partition(":")[2] or None)), name, job)
