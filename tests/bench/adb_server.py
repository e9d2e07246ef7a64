"""A stand-in for adb's server and the devices behind it, on a loopback port.

It speaks the protocol between adb and its server, as far as adb devices, shell and push need it:
https://android.googlesource.com/platform/packages/modules/adb/+/refs/heads/main/docs/dev
"""

from __future__ import annotations

import errno
import os
import socketserver
import struct
import subprocess
import threading
from pathlib import Path

from tests.bench.board import Board

_VERSION = 41  # of the protocol, which the client wants to be its own
_STDOUT, _STDERR, _EXIT = 1, 2, 3


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while asked := self._text():
            if not self._answer(asked):
                return

    def _text(self) -> str:
        length = self.rfile.read(4)
        return self.rfile.read(int(length, 16)).decode() if length else ""

    def _okay(self, payload: str | None = None) -> None:
        said = "" if payload is None else f"{len(payload):04x}{payload}"
        self.wfile.write(b"OKAY" + said.encode())

    def _fail(self, why: str) -> None:
        self.wfile.write(b"FAIL" + f"{len(why):04x}{why}".encode())

    def _answer(self, asked: str) -> bool:
        """Whether more may come on this connection."""
        server = self.server
        match asked.split(":"):
            case ["host", "version"]:
                self._okay(f"{_VERSION:04x}")
            case ["host", "devices"]:
                self._okay("".join(f"{n}\t{s}\n" for n, s in server.devices.items()))
            case ["host-serial", _, "features"] | ["host", "features"]:
                self._okay("shell_v2")
            case ["host", ("tport" | "transport") as kind, *_, serial]:
                if serial not in server.devices or server.lost:
                    self._fail(f"device '{serial}' not found")
                    return False
                self._okay()
                if kind == "tport":
                    self.wfile.write(struct.pack("<Q", 1))
                return True
            case [service, *command] if service.startswith("shell,v2,"):
                self._okay()
                self._shell(":".join(command))
            case ["sync", ""]:
                self._okay()
                self._sync()
            case _:
                self._fail(f"unknown: {asked}")
        return False

    def _shell(self, command: str) -> None:
        board = self.server.board
        if "_bench --json" in command and self.server.loses:
            self.server.lost = True
            return  # the cable is out: the connection ends without an exit code
        command = command.replace("/data/local/tmp", str(board.files))
        done = subprocess.run([board.shell, command], capture_output=True, check=False)
        for kind, data in (
            (_STDOUT, done.stdout),
            (_STDERR, done.stderr),
            (_EXIT, bytes([done.returncode])),
        ):
            self.wfile.write(struct.pack("<BI", kind, len(data)) + data)

    def _sync(self) -> None:
        while request := self.rfile.read(8):
            kind, length = request[:4], struct.unpack("<I", request[4:])[0]
            if kind == b"QUIT":
                return
            path = self.rfile.read(length).decode()
            if kind == b"STAT":
                self.wfile.write(b"STAT" + self._stat(path))
            elif kind == b"SEND":
                self._receive(path.rpartition(",")[0])

    def _stat(self, path: str) -> bytes:
        if not os.path.exists(path):
            return bytes(12)
        found = os.stat(path)
        return struct.pack("<III", found.st_mode, found.st_size, int(found.st_mtime))

    def _receive(self, path: str) -> None:
        content = b""
        while True:
            kind, length = struct.unpack("<4sI", self.rfile.read(8))
            if kind == b"DONE":
                break
            content += self.rfile.read(length)
        if self.server.full:
            why = f"couldn't write file: {os.strerror(errno.ENOSPC)}".encode()
            self.wfile.write(struct.pack("<4sI", b"FAIL", len(why)) + why)
            return
        Path(path).write_bytes(content)
        self.wfile.write(struct.pack("<4sI", b"OKAY", 0))


class AdbServer(socketserver.ThreadingTCPServer):
    """`devices` are states by serial number; all of them are one board.

    `full` says whether there is no space left on it, `loses` whether the cable is taken out when
    the benchmark starts.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, board: Board) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.board, self.devices = board, {"R58M": "device"}
        self.full = self.loses = self.lost = False
        threading.Thread(target=self.serve_forever, daemon=True).start()
