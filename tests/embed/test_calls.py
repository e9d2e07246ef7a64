"""Every entry of a library gives the same, on every kind of target, in whatever order they come."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hqc.classes import class_of
from hqc.data.events import EVENT, events_to_frames, read_events
from hqc.dialect.quantize_frames import quantize_frames
from hqc.targets import target_names
from tests.conftest import MODEL, NMNIST
from tests.embed.programs import (
    HEIGHT,
    MOST_EVENTS,
    NOT_READY,
    OK,
    OUTSIDE,
    STEPS,
    TIME_STEPS,
    UNTOUCHED,
    WIDTH,
    Calls,
    compiled,
    events_as_words,
    floats,
    linked,
    small_network,
)
from tests.networks import Network

TARGETS = ["host", "arm-a72", "rv32imc", "cortex-m4", "cortex-m0plus"]
LATEST = 2**32 - 1
NETWORKS = {
    "counts": {},
    "scaled": {"scale": 0.75, "rows": STEPS},
    "signed": {"scale": 2.5, "signed": 1},
}


def drawn(rng, count, first=0, last=1000):
    """Random events, the first and the last at these times, in random order."""
    events = np.zeros(count, EVENT)
    events["x"], events["y"] = rng.integers(0, WIDTH, count), rng.integers(0, HEIGHT, count)
    events["p"], events["t"] = rng.integers(0, 2, count), rng.integers(first, last + 1, count)
    if count > 1:
        events["t"][[0, -1]] = first, last
    return rng.permutation(events)


def recordings_of_events(rng):
    busy = drawn(rng, 1500)
    busy["x"][:900] = busy["y"][:900] = busy["p"][:900] = busy["t"][:600] = 0
    return [
        drawn(rng, 0), drawn(rng, 1), drawn(rng, 1, LATEST, LATEST), drawn(rng, 40, 7, 7),
        drawn(rng, 200, 0, 1), drawn(rng, 300, 0, LATEST - 1), drawn(rng, 300, 1, LATEST),
        drawn(rng, 300, LATEST - 2, LATEST), drawn(rng, 400, 5, 5 + 3 * STEPS), busy,
    ]  # fmt: skip


def as_codes(frames, sizes):
    """What a byte stands for, as the header says, in the byte's own type."""
    low, high = int(sizes["INPUT_MIN"]), int(sizes["INPUT_MAX"])
    scale = np.array([sizes["INPUT_SCALE"]], np.float32)
    return quantize_frames(frames.astype(np.float32), scale, qmin=low, qmax=high)


class Agreement:
    """One recording through every entry; what each gave, against the others."""

    def __init__(self, calls, frames, events=None):
        self.calls = calls
        frames = frames.reshape(-1, int(calls.sizes["STEP_INPUT_SIZE"])).astype(np.float32)
        codes = as_codes(frames, calls.sizes)
        self.floats, self.integers = [calls("R", frames)], []
        self.labels = [calls("c")]
        self.integers.append(calls("B", codes))
        self.labels.append(calls("c"))
        for letter, steps in (("s", frames), ("b", codes)):
            calls("r")
            for step in steps:
                calls(letter, step)
            calls("N")
            self.labels.append(calls("c"))
            self.integers.append(calls("n"))
            self.floats.append(calls("g"))
            self.labels.append(calls("c"))
        if events is not None:
            self.integers.append(calls("E", events_as_words(events)))
            self.labels.append(calls("c"))

    def check(self, answers):
        """All statuses are OK; floats are equal bit by bit; integers and classes are theirs."""
        made = [*self.floats, *self.integers, *self.labels]
        assert {answers[i][0] for i in made} == {OK}
        bits = [answers[i][1] for i in self.floats]
        assert all(np.array_equal(bits[0], other) for other in bits[1:])
        logits = floats(bits[0])
        integers = [answers[i][1].view(np.int32) for i in self.integers]
        assert all(np.array_equal(integers[0], other) for other in integers[1:])
        scale = self.calls.sizes["LOGIT_SCALE"]
        assert np.abs(integers[0] * scale - logits.astype(float)).max() <= scale / 2
        label = class_of(logits, int(self.calls.sizes["CLASSES"]))
        assert {int(answers[i][1][0]) for i in self.labels} == {label}
        return logits


@pytest.fixture(scope="module")
def libraries(once):
    def make(folder):
        small = {n: small_network(folder / f"{n}.onnx", **o) for n, o in NETWORKS.items()}
        for target in TARGETS:
            for name, model in small.items():
                compiled(model, target, folder / f"{name}-{target}")

    return once("embedded", make)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_entries_agree(name, target, libraries, tmp_path):
    library, rng = libraries / f"{name}-{target}", np.random.default_rng(3)
    calls = Calls(library)
    calls("i")
    agreements = []
    for events in recordings_of_events(rng):
        frames = events_to_frames(events, STEPS, HEIGHT, WIDTH)
        agreements.append(Agreement(calls, frames, events))
    for frames in rng.normal(0, 100, (10, STEPS, 2, HEIGHT, WIDTH)):
        agreements.append(Agreement(calls, frames))
    command = linked(target, library, "calls.c", tmp_path, f"-DEVENTS={MOST_EVENTS}")
    answers = calls.answers(command)
    logits = [a.check(answers) for a in agreements]
    assert len(np.unique(logits, axis=0)) > 10


@pytest.mark.parametrize("target", ["host", "arm-a72", "cortex-m4"])
def test_entries_agree_on_recordings(target, once, tmp_path):
    library = once(f"recorded-{target}", lambda f: compiled(MODEL, target, f / "net")) / "net"
    rng, calls = np.random.default_rng(4), Calls(library)
    calls("i")
    agreements = []
    for digit in (2, 7):
        events = read_events(sorted((NMNIST / "sample" / str(digit)).glob("*.bin"))[0])
        frames = events_to_frames(events, 8, 34, 34)
        agreements.append(Agreement(calls, frames, rng.permutation(events)))
    command = linked(target, library, "calls.c", tmp_path, f"-DEVENTS={MOST_EVENTS}")
    answers = calls.answers(command)
    assert [int(a.check(answers).argmax()) for a in agreements] == [2, 7]


@pytest.mark.parametrize(
    "wrong",
    [
        [(0, WIDTH, 0, 0)], [(0, 0, HEIGHT, 0)], [(0, 0, 0, 2)], [(0, 65535, 65535, 255)],
         [(5, 1, 1, 1)] * 30 + [(5, 1, HEIGHT, 1)],
    ],
)  # fmt: skip
def test_events_outside_are_refused_and_change_nothing_later(wrong, libraries, tmp_path):
    library, rng = libraries / "counts-host", np.random.default_rng(5)
    calls, right = Calls(library), events_as_words(drawn(rng, 200))
    calls("i")
    first = calls("E", right)
    refused = [calls("E", np.array(wrong, "<u4")), calls("r"), calls("e", right)]
    refused += [calls("e", np.array(wrong, "<u4")), calls("e", right), calls("e", right)]
    read = calls("n")
    calls("r")
    for _ in range(STEPS):
        calls("e", right)
    clean = calls("n")
    again = calls("E", right)
    answers = calls.answers(linked("host", library, "calls.c", tmp_path, f"-DEVENTS={MOST_EVENTS}"))
    assert [answers[i][0] for i in refused] == [OUTSIDE, OK, OK, OUTSIDE, OK, OK]
    assert (answers[refused[0]][1] == UNTOUCHED).all()
    assert np.array_equal(answers[read][1], answers[clean][1])
    assert np.array_equal(answers[first][1], answers[again][1])


@pytest.mark.parametrize("target", target_names())
def test_what_came_before_changes_nothing(target, tiny_libraries, tmp_path):
    """Random calls: each read gives what the frames since the last reset give by themselves."""
    check_that_what_came_before_changes_nothing(target, tiny_libraries / target, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_what_came_before_changes_nothing_of_several_rows(target, libraries, tmp_path):
    check_that_what_came_before_changes_nothing(target, libraries / f"scaled-{target}", tmp_path)


def check_that_what_came_before_changes_nothing(target, library, folder):
    rng = np.random.default_rng(6)
    calls = Calls(library)
    steps, size = int(calls.sizes["TIME_STEPS"]), int(calls.sizes["STEP_INPUT_SIZE"])
    pool = rng.normal(0, 100, (3, size)).astype(np.float32)
    pool_codes = as_codes(pool, calls.sizes)
    alone: dict[tuple, int] = {}

    def read_alone(chosen):
        """A call that reads after these frames of the pool, on a model that is initialised."""
        if chosen not in alone:
            calls("i")
            calls("r")
            for c in chosen:
                calls("s", pool[c])
            alone[chosen] = calls("g")
        return alone[chosen]

    for length in range(1, steps + 1):
        for chosen in np.ndindex(*[len(pool)] * length):
            read_alone(chosen)
    calls("u")
    checks, since, last = [], None, None
    for _ in range(600):
        action = rng.choice(
            ["reset", "step", "bytes", "read", "run", "classify"], p=[0.1, 0.3, 0.2, 0.2, 0.1, 0.1]
        )
        if action == "reset":
            since, last = (), None
            checks.append((calls("r"), OK, None))
        elif action in ("step", "bytes"):
            c = int(rng.integers(len(pool)))
            ready = since is not None and len(since) < steps
            at = calls("s", pool[c]) if action == "step" else calls("b", pool_codes[c])
            checks.append((at, OK if ready else NOT_READY if since is None else TIME_STEPS, None))
            if ready:
                since, last = (*since, c), None
        elif action == "read":
            if since:
                last = since
                checks.append((calls("g"), OK, last))
            else:
                checks.append((calls("g"), NOT_READY, None))
        elif action == "run":
            last, since = tuple(int(c) for c in rng.integers(len(pool), size=steps)), None
            checks.append((calls("R", pool[list(last)]), OK, last))
        else:
            checks.append((calls("c"), NOT_READY if last is None else OK, last and ("class", last)))
    answers = calls.answers(linked(target, library, "calls.c", folder))
    for at, status, expected in checks:
        assert answers[at][0] == status
        if expected is None:
            assert (answers[at][1] == UNTOUCHED).all()
        elif expected[0] == "class":
            logits = floats(answers[alone[expected[1]]][1])
            assert int(answers[at][1][0]) == class_of(logits, int(calls.sizes["CLASSES"]))
        else:
            assert np.array_equal(answers[at][1], answers[alone[expected]][1])
    assert len({answers[i][1].tobytes() for i in alone.values()}) > 3


def test_classes_are_of_exact_sums(tmp_path):
    """Sums over rows that are equal as integers, whatever the floats' rounding makes of them."""
    rows, rng = 8, np.random.default_rng(0)
    net = Network((rows, 1, 2, 1, 3), classes=2)
    one = net.quantized(np.eye(6), bits=4)
    sums = net.op("Gemm", net.view(net.input(), (rows, 6)), one, transB=1)
    spikes = net.lif(net.view(sums, (rows, 1, 6, 1, 1)), v_threshold=0.5, tau=1.25)
    weights = net.quantized(rng.integers(-40, 41, (2, 6)) * 0.0123, scale=0.0123)
    net.op("Gemm", net.view(spikes, (rows, 6)), weights, transB=1, out="logits", name="head")
    model = onnx.load(net.save(tmp_path / "ties.onnx"))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = rows
    onnx.save(model, tmp_path / "ties.onnx")
    calls = Calls(library := compiled(tmp_path / "ties.onnx", "host", tmp_path / "net"))
    calls("i")
    places = []
    for _ in range(4000):
        frames = rng.integers(0, 2, (rows, 6)).astype(np.float32)
        places.append((calls("R", frames), calls("c")))
    answers = calls.answers(linked("host", library, "calls.c", tmp_path / "program"))
    logits = np.array([floats(answers[at][1]).reshape(rows, 2) for at, _ in places])
    labels = np.array([answers[at][1][0] for _, at in places])
    assert [class_of(x, 2) for x in logits] == labels.tolist()
    assert (logits.sum(1).argmax(1) != labels).any(), "none depends on rounding"


def test_events_as_far_apart_as_times_go_are_one_step_but_not_several(libraries, tmp_path):
    calls = Calls(libraries / "counts-host")
    far, near = (np.array([(0, 1, 1, 1), (t, 2, 2, 0)], "<u4") for t in (LATEST, 5))
    calls("i")
    refused, read = calls("E", far), []
    for events in (far, near):
        calls("r")
        for _ in range(STEPS):
            calls("e", events)
        read.append(calls("n"))
    command = linked(
        "host", libraries / "counts-host", "calls.c", tmp_path, f"-DEVENTS={MOST_EVENTS}"
    )
    answers = calls.answers(command)
    assert answers[refused][0] == OUTSIDE
    assert [answers[i][0] for i in read] == [OK, OK]
    assert np.array_equal(answers[read[0]][1], answers[read[1]][1])
