"""Whatever a file holds, it is taken and right, or refused in words.

    python -m tests.fuzz.files --count 20000 --seed 0

mutates models, targets, pipelines, recordings and artifacts, runs each through what the command
line calls, and counts. A failure is any exception but `UserError`, a model whose stages differ, a
case that takes too long, one that ends the process, and whatever a refusal leaves in the output
folder. What failed is kept in a folder, with the command that repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from PIL import Image

from hqc.compiler import compile as compile_model
from hqc.compiler import lower, pipeline_for
from hqc.data.recordings import read_recording
from hqc.data.synthetic import sparse_frames
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.passes import DEFAULT, passes
from hqc.reference import run_reference
from hqc.targets import load_profile, load_target
from hqc.targets.formatting import format_text, show
from hqc.targets.syntax import read
from tests.conftest import ROOT
from tests.fuzz.model_edits import Rng, edited, of, scrambled

SECONDS = 200
"""What a case may take; most take some milliseconds."""

MEMORY = 12 << 30
"""Addresses that a process may have: what is loaded takes some, a wrong size takes all."""

COMPILED = 0.01
"""The share of cases that are compiled, too, which takes seconds."""

_BATCH = 100
_FIRST = os.getpid()
_TEMPORARIES = Path(tempfile.gettempdir())
SHAPE = (3, 1, 3, 8, 8)


@cache
def networks() -> dict[str, onnx.ModelProto]:
    """Small networks that have every op of the dialect, and what passes make of them."""
    golden = ROOT / "tests" / "passes" / "golden" / "00-dialect.txt"
    found = {}
    for file in (golden, Path(__file__).with_name("chain.txt")):
        proto = onnx.parser.parse_model(file.read_text())
        found[proto.graph.name] = proto
    return found


@dataclass(frozen=True)
class Case:
    """One trial: what is tried, and which of its seed's."""

    kind: str
    seed: int
    number: int

    @property
    def rng(self) -> Rng:
        """Its random numbers, its own."""
        return np.random.default_rng([self.seed, self.number, sorted(KINDS).index(self.kind)])


def _same(stages, rng: Rng) -> None:
    """Integers and kernels give the same logits, or a pass is wrong."""
    shape = stages.dialect.graph.inputs[0].shape.numpy()
    feeds = {stages.dialect.graph.inputs[0].name: sparse_frames(shape, 1, int(rng.integers(99)))[0]}
    integers, kernels = (run_reference(m, feeds) for m in (stages.integer, stages.kernels))
    for a, b in zip(integers, kernels, strict=True):
        if not np.array_equal(a.reshape(-1), b.reshape(-1)):
            raise AssertionError(f"kernels give {b}, integers {a}")


def _lowered(path: Path, rng: Rng, text: str | None = None) -> None:
    target = load_target(of(rng, ("host", "arm-a72", "rv64gc")))
    _same(lower(load_model(path), pipeline_for(target, text)), rng)


def try_model(folder: Path, rng: Rng) -> None:
    """A model after edits, or with its bytes changed."""
    proto = of(rng, networks().values())
    path = folder / "model.onnx"
    whole = proto.SerializeToString()
    path.write_bytes(scrambled(whole, rng) if rng.random() < 0.2 else edited(proto, rng))
    if rng.random() < COMPILED:
        compile_model(path, "host", folder / "build")
    else:
        _lowered(path, rng)


def try_pipeline(folder: Path, rng: Rng) -> None:
    """Passes in any order, with any options, on a network that the usual ones lower."""
    path = folder / "model.onnx"
    path.write_bytes(of(rng, networks().values()).SerializeToString())
    steps = DEFAULT.split(",")
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(steps) + 1))
        match rng.integers(6):
            case 0 if steps[at:]:
                del steps[at]
            case 1:
                steps.insert(at, of(rng, sorted(passes())))
            case 2:
                rng.shuffle(steps)
            case 3 if steps[at:]:
                steps[at] = scrambled(steps[at].encode(), rng).decode(errors="replace")
            case _ if steps[at:]:
                option = of(rng, ("mode", "kernel", "vector_bits", "plane", "rate", "odd"))
                values = ("exact", "guarded", "auto", "event", "planes", "0", "1", "64", "9" * 20)
                steps[at] += f"{{{option}={of(rng, values)}}}"
    text = ",".join(steps)
    (folder / "passes.txt").write_text(text, errors="replace")
    _lowered(path, rng, text)


def try_target(folder: Path, rng: Rng) -> None:
    """A target or an energy profile whose text was changed."""
    files = [f for f in resources.files("hqc.targets").iterdir() if f.name.endswith(".hqt")]
    text = of(rng, sorted(files, key=lambda f: f.name)).read_text()
    words = text.split(" ")
    for _ in range(rng.integers(0, 4)):
        at = int(rng.integers(len(words)))
        match rng.integers(4):
            case 0:
                del words[at]
            case 1:
                words.insert(at, of(rng, words))
            case 2:
                words[at] = of(
                    rng, ("{", "}", "0", "-1", "1e999", "9" * 400, '""', "bit", "pJ", "host")
                )
            case _:
                words[at], words[at - 1] = words[at - 1], words[at]
        words = words or [""]
    content = " ".join(words).encode()
    path = folder / "board.hqt"
    path.write_bytes(scrambled(content, rng) if rng.random() < 0.5 else content)
    format_text(read(str(path)))
    with contextlib.suppress(UserError):
        profile = load_profile(str(path))
        show("energy", str(path))
        str(profile)
    target = load_target(str(path))
    show("target", str(path))
    pipeline_for(target)
    if rng.random() < COMPILED:
        model = folder / "model.onnx"
        onnx.save(networks()["tiny"], model)
        compile_model(model, str(path), folder / "build")


def try_recording(folder: Path, rng: Rng) -> None:
    """A recording of some form whose bytes were changed."""
    kind = of(rng, (".npy", ".bin", ".png", ".jpg"))
    path = folder / f"recording{kind}"
    stream = io.BytesIO()
    if kind == ".npy":
        shape = of(rng, (SHAPE, SHAPE[::-1], SHAPE[:1] + SHAPE[2:], SHAPE[1:], (), (0,), (3, 3)))
        array = rng.normal(0, 100, shape).astype(of(rng, ("f4", "f8", "u1", ">i2", "bool", "c8")))
        np.save(stream, np.asfortranarray(array) if rng.integers(2) else array)
    elif kind == ".bin":
        stream.write(bytes(rng.integers(0, 9, 5 * 40, np.uint8)))
    else:
        size = of(rng, ((8, 8), (7, 9), (1, 1), (100, 3)))
        picture = Image.new(of(rng, ("RGB", "L", "1", "CMYK" if kind == ".jpg" else "RGBA")), size)
        picture.save(stream, "JPEG" if kind == ".jpg" else "PNG")
    content = stream.getvalue()
    path.write_bytes(scrambled(content, rng) if rng.random() < 0.9 else content)
    said = {"kind": "events" if kind == ".bin" else "image"}
    said |= {"time_steps": SHAPE[0], "height": SHAPE[3], "width": SHAPE[4]}
    shape = (*SHAPE[:2], 2, *SHAPE[3:]) if kind == ".bin" else SHAPE
    found = read_recording(path, shape, said).frames
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def _compiled() -> Path:
    """A compiled network, of which every case spoils a copy; the first child makes it for all."""
    build = Path(tempfile.gettempdir(), f"hqc-fuzz-{_FIRST}-build")
    if not build.exists():
        with tempfile.TemporaryDirectory(prefix="hqc-fuzz-") as folder:
            onnx.save(networks()["tiny"], Path(folder, "tiny.onnx"))
            compile_model(Path(folder, "tiny.onnx"), "host", build)
    return build


def try_artifact(folder: Path, rng: Rng) -> None:
    """A compiled network, one of whose files was changed."""
    from hqc.artifact import Artifact

    with _own_temporaries(_TEMPORARIES):
        whole = _compiled()
    frames = np.ones((2, 1, 1, 4, 4), np.float32)
    expected = Artifact.open(whole).run(frames)
    build = shutil.copytree(whole, folder / "artifact")
    file = build / of(rng, ("hqc.json", "tiny.json", "tiny.so", "tiny.hqt", "tiny.onnx"))
    file.write_bytes(scrambled(file.read_bytes(), rng))
    artifact = Artifact.open(build)
    assert artifact.target.is_host
    load_model(artifact.model_file)
    np.testing.assert_array_equal(artifact.run(frames), expected)


KINDS: Mapping[str, Callable[[Path, Rng], None]] = {
    "model": try_model,
    "pipeline": try_pipeline,
    "target": try_target,
    "recording": try_recording,
    "artifact": try_artifact,
}
WEIGHTS = {"model": 60, "pipeline": 10, "target": 14, "recording": 14, "artifact": 2}


def cases(count: int, seed: int, kinds: tuple[str, ...] = tuple(KINDS)) -> list[Case]:
    """So many cases of a seed, kinds mixed."""
    share = np.array([WEIGHTS[k] for k in kinds], float)
    chosen = np.random.default_rng(seed).choice(list(kinds), count, p=share / share.sum())
    return [Case(str(kind), seed, number) for number, kind in enumerate(chosen)]


def run(case: Case, folder: Path) -> str | None:
    """Run one case in an empty folder: "taken", "refused", or what is wrong."""

    def late(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"took more than {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    try:
        with _own_temporaries(folder):
            KINDS[case.kind](folder, case.rng)
        return "taken"
    except UserError as error:
        signal.alarm(0)
        if not error.message.strip() or "Traceback" in error.message:
            return f"an empty message: {error.message!r}"
        left = [p.name for p in folder.iterdir() if "build" in p.name or p.suffix == ".tmp"]
        return f"left {left}" if left else "refused"
    except BaseException as error:
        signal.alarm(0)
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
        cause = f" from {error.__cause__!r:.300}" if error.__cause__ else ""
        return f"{type(error).__name__}: {error!s:.500}{cause}, in {where.filename}:{where.lineno}"
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _own_temporaries(folder: Path) -> Iterator[None]:
    """Temporary files in that folder."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def run_all(wanted: list[Case], keep: Path | None = None) -> Iterator[tuple[Case, str]]:
    """The outcome of every case, each batch in a process of its own, so that one may end it."""
    importlib.import_module("hqc.codegen.kernels")  # TVM, once for all children
    try:
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            while batch:
                outcomes = list(_in_child(batch, keep))
                yield from outcomes
                batch = batch[len(outcomes) :]
    finally:
        shutil.rmtree(_TEMPORARIES / f"hqc-fuzz-{_FIRST}-build", ignore_errors=True)


def _in_child(batch: list[Case], keep: Path | None) -> Iterator[tuple[Case, str]]:
    """Outcomes until the end, or until a case ends the process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe, contextlib.suppress(BrokenPipeError):
            _work(batch, keep, pipe)
        os._exit(0)
    os.close(writing)
    done = 0
    with os.fdopen(reading) as pipe:
        for line in pipe:
            yield batch[done], json.loads(line)
            done += 1
    _, status = os.waitpid(child, 0)
    if done < len(batch):
        code = os.waitstatus_to_exitcode(status)
        yield batch[done], f"the process ended: {code}"


def _work(batch: list[Case], keep: Path | None, pipe) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    faulthandler.disable()  # the outcome says that the process ended
    for case in batch:
        with tempfile.TemporaryDirectory(prefix="hqc-fuzz-") as folder:
            outcome = run(case, Path(folder))
            if keep and outcome not in ("taken", "refused"):
                shutil.copytree(folder, keep / f"{case.kind}-{case.number}", dirs_exist_ok=True)
        pipe.write(json.dumps(outcome) + "\n")
        pipe.flush()


def main() -> int:
    """Run as many cases as asked for; 1 where any failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="how many cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of " + ", ".join(KINDS))
    parser.add_argument("--only", type=int, help="the case of that number alone, in this process")
    parser.add_argument("-o", "--output", type=Path, default=Path("build-fuzz"))
    options = parser.parse_args()
    wanted = cases(options.count, options.seed, tuple(options.kinds.split(",")))
    if options.only is not None:
        folder = options.output / "only"
        folder.mkdir(parents=True, exist_ok=True)
        KINDS[wanted[options.only].kind](folder, wanted[options.only].rng)
        return 0
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    options.output.mkdir(parents=True, exist_ok=True)
    for case, outcome in run_all(wanted, options.output):
        failed = outcome not in ("taken", "refused")
        counts[case.kind]["failed" if failed else outcome] += 1
        if failed:
            print(f"{case.kind} {case.number}: {outcome}", flush=True)
            repeat = f"python -m tests.fuzz.files --count {options.count} --seed {options.seed} "
            repeat += f"--kinds {options.kinds} --only {case.number}"
            found = options.output / f"{case.kind}-{case.number}"
            found.mkdir(exist_ok=True)
            text = json.dumps({**asdict(case), "outcome": outcome, "repeat": repeat}, indent=2)
            (found / "case.json").write_text(text + "\n")
    for kind, found in counts.items():
        print(
            f"{kind:10} " + ", ".join(f"{found[k]:6} {k}" for k in ("taken", "refused", "failed"))
        )
    return int(any(found["failed"] for found in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
