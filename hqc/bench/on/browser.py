"""Place: a browser, here or on a phone, which opens a page that this machine serves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import math
import queue
import secrets
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import click
import numpy as np

import hqc
from hqc.artifact import Artifact
from hqc.bench.on.linux import compiler_version
from hqc.bench.on.place import Job, Result, place
from hqc.codegen.javascript import PACKAGE
from hqc.errors import UserError
from hqc.targets import load_target
from hqc.version import VERSION

_TARGETS = ("wasm32", "wasm32-plain")
"""What is offered where the job names no target: the browser takes the first that it can."""

_LARGEST_RESULT = 1 << 20
_MOST_TIMES = 100_000
_LONGEST_TEXT = 512
_PATIENCE = 30.0
"""Seconds that a connection may say nothing."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Measured:
    """What a page found; `times` are milliseconds an inference, one number a batch."""

    target: str
    times: Sequence[float]
    runs: int
    logits: Sequence[bytes]
    init_ms: float
    device: Mapping[str, object]


@dataclass(frozen=True)
class Failed:
    """Why a page found nothing."""

    reason: str


@place("browser", "browser")
def run(name: str, job: Job) -> Result:
    """Serve the page, say where, and wait for one result."""
    targets = (job.target,) if job.target else _TARGETS
    for target in targets:
        if not load_target(target).is_wasm:
            raise UserError(
                f"--target {target}: browsers run WebAssembly",
                hint=f"choose {' or '.join(_TARGETS)}, or leave it out",
            )
    if job.cpu is not None:
        raise UserError("--cpu: a page does not choose its processor", hint="leave it out")
    with tempfile.TemporaryDirectory(prefix="hqc-browser-") as folder:
        variants = [_compiled(job, target, Path(folder, f"on-{target}")) for target in targets]
        expected = _expected(job, Path(folder, "host"))
        page = _page(job, variants, expected)
    with serving(page, job.host, list(targets), [e.nbytes for e in expected]) as server:
        _announce(server.address)
        job.progress("wait for the browser")
        found = server.wait()
    if isinstance(found, Failed):
        raise UserError(
            f"the browser could not run the benchmark: {found.reason}",
            hint="try a newer browser, or --target wasm32-plain",
        )
    times = sorted(found.times)
    tenths = statistics.quantiles(times, n=10, method="inclusive")
    return Result(
        model=job.model.name,
        model_sha256=hashlib.sha256(job.model.read_bytes()).hexdigest(),
        hqc=VERSION,
        target=found.target,
        place=name,
        recordings=len(job.recordings),
        equal=sum(a == b.tobytes() for a, b in zip(found.logits, expected, strict=True)),
        device=found.device,
        compiler=compiler_version(load_target(found.target), job.cc),
        median_ms=statistics.median(times),
        fastest_ms=times[0],
        percentiles_ms={"10": tenths[0], "90": tenths[-1]},
        runs=found.runs,
        init_ms=found.init_ms,
    )


def _compiled(job: Job, target: str, folder: Path) -> Artifact:
    return hqc.compile(
        job.model,
        target,
        folder,
        bind=job.bind,
        calibrate=job.calibrate,
        cc=job.cc,
        progress=job.progress,
    )


def _expected(job: Job, folder: Path) -> list[np.ndarray]:
    """The logits of every recording, as float32: those of the integer model, bit by bit."""
    artifact = hqc.compile(
        job.model, "host", folder, bind=job.bind, calibrate=job.calibrate, progress=job.progress
    )
    return list(artifact.run_batch(r.frames for r in job.recordings).astype("<f4"))


def _page(job: Job, variants: Sequence[Artifact], expected: Sequence[np.ndarray]) -> str:
    """One file with everything in it."""
    packages = [a.folder / PACKAGE for a in variants]
    said = {
        "variants": [
            {"target": a.target.name, "wasm": _text((p / f"{a.name}.wasm").read_bytes())}
            for a, p in zip(variants, packages, strict=True)
        ],
        "simd": variants[0].target.vector_bits > 0,
        "seconds": job.seconds,
        "recordings": [
            {
                "name": "/".join(Path(recording.name).parts[-2:]),
                "label": recording.label,
                **_frames(recording.frames),
                "logits": _text(logits.tobytes()),
            }
            for recording, logits in zip(job.recordings, expected, strict=True)
        ],
    }
    return Template((resources.files("hqc.bench.on") / "browser.html.in").read_text()).substitute(
        title=f"{escape(variants[0].name)} in this browser",
        job=json.dumps(said).replace("<", "\\u003c"),
        script=(packages[0] / "index.js").read_text(),
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _frames(frames: np.ndarray) -> dict[str, object]:
    """Frames for the page: bytes where all are small whole numbers, else float32."""
    whole = np.clip(frames, 0, 255).astype(np.uint8)
    fits = np.array_equal(whole, frames)
    return {"bytes": fits, "frames": _text((whole if fits else frames.astype("<f4")).tobytes())}


class _Server(ThreadingHTTPServer):
    """Gives the page to whoever knows the token, and takes one result."""

    daemon_threads = True

    def __init__(self, page: str, host: str, targets: Sequence[str], sizes: Sequence[int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.page, self.targets, self.sizes = page.encode(), targets, sizes
        self.path = f"/{secrets.token_urlsafe(16)}"
        self._results: queue.Queue[Measured | Failed] = queue.Queue()
        self._claimed = threading.Lock()
        super().__init__((host, 0), _Handler)

    @property
    def address(self) -> str:
        """The page's URL. For a server on every address it names this machine's own."""
        host, port = self.server_address[:2]
        ip = ipaddress.ip_address(str(host).partition("%")[0])
        shown = _own_address() if ip.is_unspecified else str(host)
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{self.path}"

    def claim(self) -> bool:
        """Whether a result may be given: to the first that asks."""
        return self._claimed.acquire(blocking=False)

    def give(self, found: Measured | Failed) -> None:
        """End the wait."""
        self._results.put(found)

    def wait(self) -> Measured | Failed:
        """The result, once there is one. Ctrl-C ends the wait."""
        while True:
            try:
                return self._results.get(timeout=0.5)
            except queue.Empty:
                continue

    def handle_error(self, request, client_address) -> None:
        """A connection that breaks is the browser's affair."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "hqc", ""
    timeout = _PATIENCE

    def do_GET(self) -> None:
        """The page."""
        if self._knows_token():
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """The result."""
        if not self._knows_token():
            return
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or len(size) > 9:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long the result is")
        elif int(size) > _LARGEST_RESULT:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "that is too large for a result")
        else:
            try:
                found = read_result(
                    self.rfile.read(int(size)), self.server.targets, self.server.sizes
                )
            except ValueError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
                return
            if not self.server.claim():
                self._refuse(HTTPStatus.CONFLICT, "there is a result already")
                return
            try:  # the page hears of it before the server ends
                self._answer(HTTPStatus.OK, b"taken", "text/plain")
            finally:
                self.server.give(found)

    def _knows_token(self) -> bool:
        known = hmac.compare_digest(self.path.encode(), self.server.path.encode())
        if not known:
            self._refuse(HTTPStatus.FORBIDDEN, "the address is not the one that hqc printed")
        return known

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._answer(status, why.encode(), "text/plain; charset=utf-8")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the token is part of every request."""


@contextmanager
def serving(
    page: str, host: str, targets: Sequence[str], sizes: Sequence[int]
) -> Iterator[_Server]:
    """Serve a page at an address of this machine; `sizes` are the bytes of each logits.

    Raises `UserError` where there is no such address.
    """
    try:
        server = _Server(page, host, targets, sizes)
    except OSError as error:
        raise UserError(
            f"--host {host}: cannot serve there: {error.strerror}",
            hint="give an address of this machine, e.g. its own in the network of the phone",
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def read_result(body: bytes, targets: Sequence[str], sizes: Sequence[int]) -> Measured | Failed:
    """What a page posted, if it is one of the targets and has logits of those sizes.

    Raises `ValueError`, saying why, for anything else: it comes from the network.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("a result is JSON") from None
    if not isinstance(said, dict):
        raise ValueError("a result is a JSON object")
    if "failed" in said:
        return Failed(_printable(said["failed"]))
    times, runs, logits = said.get("times"), said.get("runs"), said.get("logits")
    if said.get("target") not in targets:
        raise ValueError("'target' is none of those that were offered")
    if not isinstance(times, list) or not 2 <= len(times) <= _MOST_TIMES:
        raise ValueError("'times' is no list of batches")
    if not all(map(_is_duration, [*times, said.get("init_ms")])):
        raise ValueError("'times' and 'init_ms' are positive numbers")
    if type(runs) is not int or not len(times) <= runs <= 10**12:
        raise ValueError("'runs' is no count")
    if not isinstance(logits, list) or len(logits) != len(sizes):
        raise ValueError("'logits' is no list of all recordings'")
    given = [_decoded(text) for text in logits]
    if [len(g) for g in given] != list(sizes):
        raise ValueError("'logits' have another size")
    device: dict[str, object] = {"machine": _printable(said.get("user_agent"))}
    device["screen"] = _printable(said.get("screen"))
    for key in ("threads", "memory_gib"):
        value = said.get(key)
        device[key] = value if type(value) in (int, float) and 0 < value < 1e6 else None
    return Measured(said["target"], times, runs, given, said["init_ms"], device)


def _is_duration(value: Any) -> bool:
    """Whether it is a number of milliseconds; a coarse timer may say 0 of what is short."""
    return type(value) in (int, float) and 0 <= value < 1e9 and math.isfinite(value)


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "!", validate=True)
    except ValueError:
        raise ValueError("'logits' are base64") from None


def _printable(text: object) -> str:
    """A text of a browser's, short, and without what would control a terminal."""
    shown = text if isinstance(text, str) else "unknown"
    return "".join(c if c.isprintable() else "?" for c in shown[:_LONGEST_TEXT])


def _own_address() -> str:
    """This machine's address in its network: that of what would leave it. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def _announce(address: str) -> None:
    """Say where the page is, on stderr, which leaves stdout to the result."""
    click.echo(f"open {address}", err=True)
    if ipaddress.ip_address(address.split("/")[2].rsplit(":", 1)[0].strip("[]")).is_loopback:
        click.echo("for a phone: --host with this machine's address in its network", err=True)
    else:
        import segno

        segno.make(address, error="l").terminal(out=sys.stderr, compact=True)
    click.echo("Ctrl-C ends it", err=True)
