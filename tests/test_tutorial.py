"""The tutorial's notebook does what it says, on the recordings that come with hqc.

The outputs that are committed are of the 1000 recordings that slayerPytorch distributes. They, and
the picture of the report, which takes chromium, are written anew by

    NMNIST=DIR python -m pytest tests/test_tutorial.py --regenerate-golden
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.conftest import NMNIST, ROOT

NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"
REPORT = "report.png"
ABSOLUTE = re.compile(r"(^|[\s\"'=(\[])(~|file://)?/\w", re.MULTILINE)
"""A path from the root of the file system, or of the home folder."""


def executed(folder, nmnist=None):
    """The notebook as it is when all of its cells have run, in a copy of the examples' folder."""
    shutil.copytree(NMNIST / "sample", folder / "nmnist" / "sample")
    env = {name: value for name, value in os.environ.items() if name != "NMNIST"}
    scripts = Path(sys.executable).parent  # `hqc` is there, and may not be on the path
    env |= {"PATH": f"{scripts}:{env['PATH']}", "IPYTHONDIR": str(folder / ".ipython")}
    if nmnist is not None:
        env["NMNIST"] = str(Path(nmnist).resolve())
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=600, record_timing=False, coalesce_streams=True)
    client.execute(cwd=str(folder), env=env)
    for output in outputs(notebook):
        if output.output_type == "stream":  # what a terminal shows when a command has ended
            output.text = output.text.replace("\x1b[K", "").replace("\r\n", "\n")
        elif "text/plain" in output.data:
            output.data["text/plain"] = re.sub(" at 0x[0-9a-f]+", "", output.data["text/plain"])
    return notebook


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook):
    return "".join(o.text for o in outputs(notebook) if o.output_type == "stream")


def right(pattern, text):
    """The part of recordings that a line says are classified right."""
    (found,) = re.findall(rf"^{pattern}", text, re.MULTILINE)
    return float(found) / 100


def check(notebook, trained, tested):
    """It ran to its end, and every step says that it did what it was to do. What it classifies."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {o.get("name", "stdout") for o in outputs(notebook)} == {"stdout"}
    text = printed(notebook)
    assert "error" not in text
    assert f"{trained} recordings to train with, {tested} to test with\n" in text
    assert f"% of {trained} recordings right, float " in text
    assert "4.00 bits a weight" in text
    for folder, target in (("host", "host"), ("arm", "arm-a72")):
        assert f"tutorial/build-{folder}/libdigits.a for {target}\n" in text
        _, _, verdict = text.partition(f"tutorial/model.onnx on {target}, {tested} recordings\n")
        for step in ("compiled code", "step by step", "kernel model"):
            assert re.search(rf"^  {step} equals integer model +{tested}/{tested}$", verdict, re.M)
        assert re.match(r"(  .*\n){3}  rounding explains every layer +3/3\n", verdict)
    assert "nJ an inference by horowitz-45nm" in text
    assert "tutorial/report.html: written\n" in text
    assert re.search(r"^from Python: a \d is classified as \d$", text, re.MULTILINE)
    pictures = [o for o in outputs(notebook) if "image/png" in o.get("data", {})]
    assert len(pictures) == 3
    network = right(rf"float network: (\S+)% of {tested} test recordings right$", text)
    compiled = right(rf"tutorial/build-host: \d+/{tested} right, (\S+)%$", text)
    assert text.count(f"compiled {compiled:.2%}\n") == 2  # as both verifications say
    assert compiled > network - 0.15
    return compiled


def report_of(folder):
    """A picture of how the report begins."""
    chromium = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars"]
    size = ["--virtual-time-budget=20000", "--window-size=1100,2530"]
    report = (folder / "tutorial" / "report.html").as_uri()
    subprocess.run([*chromium, *size, f"--screenshot={folder / REPORT}", report], check=True)
    picture = io.BytesIO()
    Image.open(folder / REPORT).quantize(128).save(picture, "png", optimize=True)
    return base64.b64encode(picture.getvalue()).decode()


def test_it_runs_on_the_recordings_that_come_with_hqc(tmp_path):
    notebook = executed(tmp_path)
    assert check(notebook, trained=80, tested=20) >= 0.65
    assert (tmp_path / "tutorial" / "build-arm" / "libdigits.a").exists()
    assert (tmp_path / "tutorial" / "report.html").exists()


def test_committed_outputs_are_of_a_whole_run(request, tmp_path):
    if request.config.getoption("--regenerate-golden") and "NMNIST" in os.environ:
        notebook = executed(tmp_path, os.environ["NMNIST"])
        notebook.metadata.language_info = {"name": "python"}
        (page,) = (cell for cell in notebook.cells if f"attachment:{REPORT}" in cell.source)
        page.attachments = {REPORT: {"image/png": report_of(tmp_path)}}
        nbformat.write(notebook, NOTEBOOK)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    compiled = check(notebook, trained=1000, tested=100)
    text = " ".join(cell.source for cell in notebook.cells)
    (said,) = re.findall(r"1000 recordings\s+give about (\d+) %", text)
    assert compiled == pytest.approx(int(said) / 100, abs=0.015)


def test_committed_outputs_say_nothing_of_where_and_when_they_were_made():
    assert NOTEBOOK.stat().st_size < 500_000
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert not any(cell.metadata for cell in notebook.cells)
    assert len(outputs(notebook)) > 10
    for output in outputs(notebook):
        data = output.get("data", {})
        texts = [output.get("text", ""), *(v for k, v in data.items() if k != "image/png")]
        for text in texts:
            assert not ABSOLUTE.search(text), text
            assert not re.search(r"\d\d:\d\d|20\d\d-\d\d|\x1b|\r| at 0x", text), text
        assert set(data) <= {"image/png", "text/html", "text/plain"}


@pytest.mark.parametrize("text", ["/home/me/x", "in /tmp/x", "src='/x'", 'a\n"file:///x"', "~/x"])
def test_an_absolute_path_would_be_found(text):
    assert ABSOLUTE.search(text)


def test_every_link_leads_somewhere():
    text = "".join(c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if ":" not in link]
    assert len(links) == 2
    for link in links:
        assert (NOTEBOOK.parent / link).exists(), link
