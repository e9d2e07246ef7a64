"""Benchmarks in a browser: the page in Chromium, and what its server takes and refuses."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest

from hqc.bench.on import Job, browser, find_place
from hqc.compiler import recordings_for
from hqc.errors import UserError
from hqc.frontend.load import load_model
from tests.conftest import MODEL

ADDRESS = re.compile(r"open (http://\S+)")


@contextmanager
def chromium(address, folder):
    """A browser at an address; it stays, as a user's would."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "tests/install_tools.sh installs chromium"
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    with subprocess.Popen(
        [*command, f"--user-data-dir={folder}", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as opened:
        try:
            yield
        finally:
            opened.terminate()


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """Run a job at the place, with a browser that opens what hqc prints."""

    def run(model, **options):
        loaded = load_model(model)
        job = Job(model, recordings_for(model, loaded, None, 3), seconds=0.1, **options)
        announce, browsers = browser._announce, []

        def opened(address):
            announce(address)
            browsers.append(chromium(address, tmp_path / "profile"))
            browsers[-1].__enter__()

        monkeypatch.setattr(browser, "_announce", opened)
        try:
            return find_place("browser")("browser", job)
        finally:
            for each in browsers:
                each.__exit__(None, None, None)

    return run


@pytest.mark.parametrize(("target", "found"), [(None, "wasm32"), ("wasm32-plain", "wasm32-plain")])
def test_a_browser_gives_the_integer_models_logits(target, found, benchmark, capsys):
    result = benchmark(MODEL, target=target)
    assert (result.target, result.place) == (found, "browser")
    assert result.equal == result.recordings == 3
    assert 0 < result.fastest_ms <= result.median_ms
    assert result.runs >= 5 * 3
    assert "Chrome" in result.device["machine"]
    assert result.device["threads"] > 0
    assert ADDRESS.search(capsys.readouterr().err)


def test_a_difference_is_found(benchmark, monkeypatch, tiny_model):
    true = browser._expected

    def flipped(*arguments):
        expected = true(*arguments)
        expected[1].view("u4").reshape(-1)[0] ^= 1
        return expected

    monkeypatch.setattr(browser, "_expected", flipped)
    assert benchmark(tiny_model, target="wasm32-plain").equal == 2


def test_a_browser_that_takes_no_module_says_so(benchmark, monkeypatch, tiny_model):
    page = browser._page
    monkeypatch.setattr(browser, "_page", lambda *a: page(*a).replace('"AGFzbQ', '"AAAAAA'))
    with pytest.raises(UserError, match="this browser takes none of wasm32, wasm32-plain"):
        benchmark(tiny_model)


def test_the_page_needs_nothing_else(tiny_model, monkeypatch):
    pages = []

    class EnoughError(Exception):
        pass

    def kept(page, *_):
        pages.append(page)
        raise EnoughError

    monkeypatch.setattr(browser, "serving", kept)
    recordings = recordings_for(tiny_model, load_model(tiny_model), None, 2)
    with pytest.raises(EnoughError):
        find_place("browser")("browser", Job(tiny_model, recordings))
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://""", pages[0])
    assert 'name="viewport"' in pages[0]


LOGITS = np.array([1, -2], "<f4").tobytes()
GOOD = {
    "target": "wasm32", "times": [1.5, 1, 2.0], "runs": 9, "init_ms": 3,
    "logits": [base64.b64encode(LOGITS).decode()], "user_agent": "a\x1b[2Jb", "threads": 4,
    "screen": "360x800",
}  # fmt: skip


@pytest.fixture
def server():
    with browser.serving("<p>page</p>", "127.0.0.1", ["wasm32"], [len(LOGITS)]) as server:
        yield server


def ask(server, method="GET", path=None, body=None, headers=None):
    """Status and text of an answer."""
    where = urlsplit(server.address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.request(method, path or where.path, body, headers or {})
    answer = connection.getresponse()
    said = answer.status, answer.read().decode()
    connection.close()
    return said


def test_one_result_is_taken_and_no_second(server):
    assert ask(server) == (200, "<p>page</p>")
    assert ask(server, "POST", body=json.dumps(GOOD)) == (200, "taken")
    assert ask(server, "POST", body=json.dumps(GOOD | {"runs": 10}))[0] == 409
    found = server.wait()
    assert (found.runs, list(found.logits)) == (9, [LOGITS])
    assert found.device["machine"] == "a?[2Jb", "what controls a terminal"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_token_is_refused(server, method):
    token = urlsplit(server.address).path
    assert len(token) > 20
    for path in ("/", f"{token}x", token[:-1], f"{token}/", "/%C3%A9"):
        body = json.dumps(GOOD) if method == "POST" else None
        assert ask(server, method, path, body)[0] == 403
    assert ask(server, "POST", body=json.dumps(GOOD))[0] == 200, "none of them was a result"


def test_tokens_are_of_one_time():
    addresses = set()
    for _ in range(2):
        with browser.serving("", "127.0.0.1", ["wasm32"], []) as server:
            addresses.add(urlsplit(server.address).path)
    assert len(addresses) == 2


def test_bodies_that_are_too_large_or_of_no_length_are_refused(server):
    largest = browser._LARGEST_RESULT
    assert ask(server, "POST", headers={"Content-Length": str(largest + 1)})[0] == 413
    assert ask(server, "POST", headers={"Content-Length": "9" * 30})[0] == 411
    assert ask(server, "POST", headers={"Content-Length": "-1"})[0] == 411
    assert ask(server, "POST", headers={"Transfer-Encoding": "chunked"})[0] == 411


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"target": "host"}, "none of those that were offered"),
        ({"target": ["wasm32"]}, "none of those that were offered"),
        ({"times": []}, "no list of batches"),
        ({"times": [1]}, "no list of batches"),
        ({"times": "11"}, "no list of batches"),
        ({"times": [1, -1]}, "positive numbers"),
        ({"times": [1, "1"]}, "positive numbers"),
        ({"times": [1, True]}, "positive numbers"),
        ({"times": [1, float("nan")]}, "positive numbers"),
        ({"times": [1, float("inf")]}, "positive numbers"),
        ({"init_ms": None}, "positive numbers"),
        ({"runs": 1.5}, "no count"),
        ({"runs": 2}, "no count"),
        ({"logits": []}, "no list of all"),
        ({"logits": [GOOD["logits"][0]] * 2}, "no list of all"),
        ({"logits": ["?"]}, "are base64"),
        ({"logits": ["é"]}, "are base64"),
        ({"logits": [5]}, "are base64"),
        ({"logits": ["AAAA"]}, "another size"),
    ],
)
def test_results_of_another_shape_are_refused(server, change, why):
    status, said = ask(server, "POST", body=json.dumps(GOOD | change))
    assert (status, why in said) == (400, True), said


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"7", b"[" * 100_000, b'{"times": 1'])
def test_bodies_that_are_no_object_are_refused(server, body):
    assert ask(server, "POST", body=body, headers={"Content-Length": str(len(body))})[0] == 400


def test_what_browsers_cannot_run_is_refused():
    with pytest.raises(UserError, match="--target arm-a72: browsers run WebAssembly"):
        find_place("browser")("browser", Job(MODEL, [], target="arm-a72"))
    with pytest.raises(UserError, match="--cpu: a page does not choose"):
        find_place("browser")("browser", Job(MODEL, [], cpu=1))


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "::2"])
def test_addresses_that_this_machine_does_not_have_are_refused(host):
    with (
        pytest.raises(UserError, match=f"--host {host}: cannot serve"),
        browser.serving("", host, ["wasm32"], []),
    ):
        pass


def test_a_phone_gets_the_address_as_a_code_too(capsys):
    browser._announce("http://192.168.1.10:8000/token")
    said = capsys.readouterr().err
    assert "open http://192.168.1.10:8000/token" in said
    assert said.count("\n") > 10
    browser._announce("http://[::1]:8000/token")
    assert capsys.readouterr().err.count("\n") == 3


def test_a_server_on_every_address_names_one():
    with browser.serving("", "0.0.0.0", ["wasm32"], []) as server:
        assert urlsplit(server.address).hostname != "0.0.0.0"
        assert ask(server)[0] == 200
