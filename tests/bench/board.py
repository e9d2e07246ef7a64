"""A board to test with: its own shell, by OpenSSH's server on a loopback port."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

_CPUINFO = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"

_SHELL = """#!/bin/sh
export PATH={folder}/bin:$PATH
command=${{SSH_ORIGINAL_COMMAND:-$1}}
case $command in
*_bench\\ --json*) [ ! -e {folder}/lose ] || kill -9 $PPID ;;
esac
exec sh -c "$(printf %s "$command" | sed 's#\\./[a-z0-9_]*_bench#emulator &#')"
"""

_STAND_INS = {
    "uname": 'case $1 in -m) echo {machine} ;; *) exec /bin/uname "$@" ;; esac',
    "cat": 'case $1 in /proc/cpuinfo) exec /bin/cat {folder}/cpuinfo ;; esac; exec /bin/cat "$@"',
    "getprop": "echo Phone",
}

_SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
ForceCommand {folder}/shell
StrictModes no
PidFile none
"""

_CLIENT = """
Host board
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking accept-new
"""


class Board:
    """A machine of an architecture, whose shell runs what is put into `files` by an emulator.

    It finds programs in `bin` first, which say of the machine what the test wants.
    """

    def __init__(self, folder: Path, machine: str, cpuinfo: str, emulator: str) -> None:
        self.folder, self.files = folder, folder / "files"
        self.files.mkdir()
        (folder / "bin").mkdir()
        (folder / "cpuinfo").write_text(cpuinfo)
        self.shell = self._script("shell", _SHELL.format(folder=folder))
        self.replace("emulator", f'exec {emulator} "$@"')
        for name, lines in _STAND_INS.items():
            self.replace(name, lines.format(folder=folder, machine=machine))

    def replace(self, name: str, lines: str) -> None:
        """Put a program of one's own in the place of the board's."""
        self._script(f"bin/{name}", f"#!/bin/sh\n{lines}\n")

    def _script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path


def arm_board(folder: Path) -> Board:
    """A Cortex-A72."""
    return Board(folder, "aarch64", _CPUINFO, "qemu-aarch64")


def this_board(folder: Path) -> Board:
    """A machine such as this."""
    return Board(folder, os.uname().machine, Path("/proc/cpuinfo").read_text(), "")


class SshServer:
    """OpenSSH's server before a board, and a client that reaches it as ssh://board."""

    def __init__(self, board: Board) -> None:
        server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert server, "tests/install_tools.sh installs openssh-server"
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # as the service does at its start
        folder = board.folder
        for key in ("host_key", "key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
            )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        values = {"port": self.port, "folder": folder, "user": getpass.getuser()}
        (folder / "sshd_config").write_text(_SERVER.format(**values))
        (folder / "config").write_text(_CLIENT.format(**values))
        self.path = folder / "client"
        self.path.mkdir()
        client = self.path / "ssh"
        client.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
        client.chmod(0o755)
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [server, "-D", "-e", "-f", folder / "sshd_config"], stderr=log
            )
        deadline = time.monotonic() + 20
        while "listening" not in (folder / "log").read_text().lower():
            assert time.monotonic() < deadline, (folder / "log").read_text()
            assert self._process.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
