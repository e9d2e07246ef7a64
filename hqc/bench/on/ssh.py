"""Place: a machine with Linux that OpenSSH reaches, with what ~/.ssh/config says of it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hqc.bench.on.linux import bench_on, call
from hqc.bench.on.place import Job, Result, place
from hqc.errors import ToolError, UserError

_FORM = r"(ssh://(?:[^\s@/]+@)?(?:\[[^\s\]]+\]|[^\s@/:]+)(?::\d+)?)(/\S*)?"

_HINTS = {
    "Permission denied": "give it your key (ssh-copy-id), or a password at a terminal",
    "Host key verification failed": "connect to it once by hand, and see whether it is yours",
    "Could not resolve": "check the name; a board that has just started may need a minute",
    "refused": "does sshd run there?",
    "timed out": "is it switched on, and in your network?",
    "No route": "is it switched on, and in your network?",
}


class _Ssh:
    """One connection, which later commands share; a lost one is made anew where keys do for it."""

    product: str | None = None

    def __init__(self, destination: str, folder: str, socket: str) -> None:
        self.destination, self.folder = destination, folder
        self.elsewhere = f"--on {destination}/FOLDER"
        self._command = ["ssh", "-S", socket, "-o", "ConnectTimeout=10"]
        self._command += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        if not sys.stdin.isatty():
            self._command += ["-o", "BatchMode=yes"]

    def open(self) -> None:
        """Connect; asks for a password where there is a terminal to ask at."""
        # It goes to the background with its standard error, which would keep a pipe open.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [*self._command, "-fNM", "-o", "ControlPersist=no", self.destination],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False,
            )  # fmt: skip
            said.seek(0)
            self._check(done.returncode, said.read())

    def close(self) -> None:
        """End the connection."""
        subprocess.run(
            [*self._command, "-O", "exit", self.destination], capture_output=True, check=False
        )

    def shell(self, command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return self._checked(call(self._ssh(command), seconds))

    def put(self, file: Path, path: str) -> subprocess.CompletedProcess[str]:
        return self._checked(call(self._ssh(f"cat >{shlex.quote(path)}"), given=file))

    def _ssh(self, command: str) -> list[str]:
        return [*self._command, "-o", "BatchMode=yes", self.destination, command]

    def _checked(self, done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        self._check(done.returncode, done.stderr)
        return done

    def _check(self, code: int, said: str) -> None:
        """Raise `UserError` where ssh itself failed, which is exit code 255."""
        if code != 255:
            return
        lines = said.strip().splitlines() or ["the connection was lost"]
        hints = (hint for text, hint in _HINTS.items() if text in said)
        raise UserError(
            f"{self.destination}: {lines[-1]}",
            hint=next(hints, f"does this work? ssh {self.destination} true"),
        )


@place("ssh://[USER@]HOST[:PORT][/FOLDER]", _FORM)
def run(name: str, job: Job) -> Result:
    """A folder says where on the machine the program is put, for as long as it runs."""
    if not shutil.which("ssh"):
        raise ToolError("there is no ssh here", hint="install OpenSSH's client")
    destination, folder = re.fullmatch(_FORM, name).groups()
    with tempfile.TemporaryDirectory(prefix="hqc-ssh-") as own:
        machine = _Ssh(destination, (folder or "/tmp").rstrip("/"), f"{own}/socket")
        job.progress(f"connect to {destination}")
        machine.open()
        try:
            return bench_on(machine, name, job)
        finally:
            machine.close()
