"""The package for npm: what it computes in Node.js, and what its users get."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

import hqc
from hqc.codegen.javascript import class_name
from hqc.errors import ToolError
from hqc.targets import load_target, target_names
from tests.conftest import MODEL

TARGETS = ["wasm32", "wasm32-plain"]

ALL = """
import { Nmnist } from 'nmnist'
import { readFileSync, writeFileSync } from 'node:fs'
const all = new Float32Array(new Uint8Array(readFileSync('frames')).buffer)
const size = Nmnist.inputShape.reduce((a, b) => a * b)
const model = await Nmnist.load()
const found = { run: [], integers: [], stream: [], labels: [] }
for (let at = 0; at < all.length; at += size) {
  const frames = all.subarray(at, at + size)
  found.run.push(...model.run(frames))
  found.labels.push(model.classify())
  found.integers.push(...model.runBytes(Uint8Array.from(frames)))
  model.reset()
  for (let t = 0, step = size / Nmnist.timeSteps; t < Nmnist.timeSteps; t++) {
    if (t % 2) model.stepBytes(Uint8Array.from(frames.subarray(t * step, (t + 1) * step)))
    else model.step(frames.subarray(t * step, (t + 1) * step))
  }
  found.stream.push(...model.read())
}
console.log(JSON.stringify({ ...found, scale: Nmnist.logitScale, bytes: Nmnist.bytes }))
"""

MISUSES = """
import { Nmnist, StatusError } from 'nmnist'
const frames = new Float32Array(Nmnist.inputShape.reduce((a, b) => a * b))
const frame = frames.subarray(0, frames.length / Nmnist.timeSteps)
const [model, other] = [await Nmnist.load(), await Nmnist.load()]
async function thrown(call) {
  try { await call() } catch (error) {
    const kind = error instanceof StatusError ? 'StatusError ' + error.status : error.name
    return console.log(kind + ': ' + error.message)
  }
  console.log('nothing')
}
await thrown(() => model.read())
await thrown(() => model.classify())
await thrown(() => model.step(frame))
await thrown(() => model.run(frame))
await thrown(() => model.run([...frames]))
await thrown(() => model.runBytes(frames))
model.reset()
for (let t = 0; t < Nmnist.timeSteps; t++) model.step(frame)
await thrown(() => model.step(frame))
await thrown(() => other.read())
await thrown(() => Nmnist.load(new Uint8Array([0, 1, 2, 3])))
await thrown(() => Nmnist.load(new Response('gone', { status: 404 })))
await thrown(() => model.classify(frames))
"""

MISUSED = [
    "StatusError 5: nmnist: call init first",
    "StatusError 5: nmnist: call init first",
    "StatusError 5: nmnist: call init first",
    "RangeError: nmnist takes 18496 numbers, not 2312",
    "TypeError: nmnist takes a Float32Array",
    "TypeError: nmnist takes a Uint8Array",
    "StatusError 6: nmnist: all time steps are done",
    "StatusError 5: nmnist: call init first",
    "Error: nmnist: no module for wasm32",
    "Error: nmnist:  gave HTTP status 404",
    "nothing",
]


@pytest.fixture(scope="module", params=TARGETS)
def app(request, tmp_path_factory):
    """A folder with the package installed, and what runs a script in it."""
    folder = tmp_path_factory.mktemp("app")
    artifact = hqc.compile(MODEL, request.param, folder / "build")
    shutil.copytree(artifact.folder / "npm", folder / "node_modules" / "nmnist")

    def run(script):
        (folder / "app.mjs").write_text(script)
        done = subprocess.run(
            ["node", "app.mjs"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    run.folder = folder
    return run


def test_every_call_gives_the_hosts_bits(app, recordings, host_artifact):
    chosen = recordings[::10]
    frames = np.concatenate([r.frames.reshape(-1) for r in chosen]).astype("<f4")
    (app.folder / "frames").write_bytes(frames.tobytes())
    found = json.loads(app(ALL))
    expected = np.concatenate([host_artifact.run(r.frames).reshape(-1) for r in chosen])
    for mode in ("run", "stream"):
        np.testing.assert_array_equal(np.array(found[mode], np.float32), expected)
    classes = expected.reshape(len(chosen), -1).argmax(1)
    np.testing.assert_array_equal(found["labels"], classes)
    integers = np.array(found["integers"])
    np.testing.assert_allclose(integers * found["scale"], expected, atol=found["scale"])
    assert found["bytes"]["dtype"] == "uint8"


def test_misuses_are_exceptions_that_say_what_is_wrong(app):
    lines = app(MISUSES).splitlines()
    assert len(lines) == len(MISUSED)
    for line, begins in zip(lines, MISUSED, strict=True):
        assert line.startswith(begins)


def test_the_module_imports_nothing(app):
    (module,) = (app.folder / "node_modules" / "nmnist").glob("*.wasm")
    said = app(f"""
import {{ readFileSync }} from 'node:fs'
const module = new WebAssembly.Module(readFileSync({json.dumps(str(module))}))
console.log(WebAssembly.Module.imports(module).length)
""")
    assert said == "0\n"


def test_the_package_lists_what_it_holds(app):
    folder = app.folder / "node_modules" / "nmnist"
    package = json.loads((folder / "package.json").read_text())
    assert {*package["files"], "package.json"} == {p.name for p in folder.iterdir()}
    assert "dependencies" not in package
    entry = package["exports"]["."]
    assert all((folder / entry[kind]).is_file() for kind in ("types", "node", "default"))


def test_other_targets_have_no_package(host_artifact):
    assert not (host_artifact.folder / "npm").exists()
    assert [t for t in target_names() if load_target(t).is_wasm] == TARGETS


def test_a_compiler_that_links_no_module_is_said(tiny_model, tmp_path):
    with pytest.raises(ToolError, match="failed with exit code"):
        hqc.compile(tiny_model, "wasm32", tmp_path / "build", cc="cc")
    assert not (tmp_path / "build").exists()


def test_names_of_classes():
    assert [class_name(n) for n in ("nmnist", "spikformer_s", "m_4bit")] == [
        "Nmnist", "SpikformerS", "M4bit",
    ]  # fmt: skip
