from __future__ import annotations

import os

import pytest

from tests.bench.adb_server import AdbServer
from tests.bench.board import SshServer, arm_board, this_board


@pytest.fixture
def board(tmp_path_factory):
    """A Cortex-A72, under an emulator."""
    return arm_board(tmp_path_factory.mktemp("board"))


@pytest.fixture
def own_board(tmp_path_factory):
    """A machine such as this."""
    return this_board(tmp_path_factory.mktemp("board"))


@pytest.fixture
def reach(monkeypatch):
    """Start a server of OpenSSH before a board; the place where it is."""
    servers = []

    def started(board):
        servers.append(SshServer(board))
        monkeypatch.setenv("PATH", f"{servers[-1].path}:{os.environ['PATH']}")
        return f"ssh://board{board.files}"

    yield started
    for server in servers:
        server.close()


@pytest.fixture
def adb(board, monkeypatch):
    """A server of adb before the board."""
    with AdbServer(board) as server:
        monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.1:{server.server_address[1]}")
        yield server
        server.shutdown()
