"""The suite scaling: networks that grow along one axis, and lines through their times."""

from __future__ import annotations

import json
import re
from statistics import fmean
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from hqc.bench.suite import SUITES, scaling, speed
from hqc.bench.suite.drawn import draw_growth
from hqc.bench.suite.growth import Growth, described, growth
from hqc.bench.suite.suite import Axis
from hqc.cli import cli
from hqc.errors import UserError


def texts(path):
    return re.findall(r"<text[^>]*>(.*?)</text>", path.read_text())


def measured(**ms):
    return [SimpleNamespace(name=name, hqc_fastest_ms=value) for name, value in ms.items()]


def test_times_on_a_line_are_not_off_it():
    axis = Axis("tokens", "depth 4", {1: "a", 2: "b", 4: "c"})
    found = growth(axis, measured(c=4.5, a=3.0, unmeasured=9.0, b=3.5))
    assert (found.sizes, found.ms) == ([1, 2, 4], [3.0, 3.5, 4.5])
    assert found.each_ms == pytest.approx(0.5)
    assert found.fixed_ms == pytest.approx(2.5)
    assert found.largest_deviation == pytest.approx(0, abs=1e-9)


def test_the_largest_deviation_is_a_share_of_the_time_that_is_off():
    axis = Axis("tokens", "depth 4", {1: "a", 2: "b", 3: "c"})
    # The line of least squares is 1 + 1 * size: off by 0.5 at 1, by 1 at 2, and by 0.5 at 3.
    found = growth(axis, measured(a=2.5, b=2.0, c=4.5))
    assert (found.fixed_ms, found.each_ms) == pytest.approx((1, 1))
    assert found.largest_deviation == pytest.approx(1 / 2)
    assert described(found) == "tokens: 1 ms each + 1 ms, at most 50.0% off"


def test_a_panel_an_axis_says_what_is_kept_and_how_straight_it_is(tmp_path):
    lines = [
        Growth("time steps", "64 tokens", [1, 2, 4], [1.0, 2.0, 4.1], -0.05, 1.03, 0.0321),
        Growth("depth", "T = 4", [1, 2, 8], [1.0, 2.0, 8.0], 0.0, 1.0, 0.0),
    ]
    for name in ("a.svg", "b.svg"):
        draw_growth(lines, tmp_path / name)
    said = texts(tmp_path / "a.svg")
    assert {"time steps", "64 tokens", "depth", "T = 4", "ms an inference"} <= set(said)
    assert "1.03 ms each - 0.05 ms, at most 3.2% off" in said
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_one_size_alone_differs_along_an_axis():
    suite = SUITES["scaling"]
    assert [case.name for case in suite.cases] == list(dict.fromkeys(c.name for c in suite.cases))
    sizes = {"time steps": [1, 2, 4, 8], "tokens": [16, 64, 144, 256], "depth": [1, 2, 4, 8]}
    assert {axis.name: list(axis.cases) for axis in suite.axes} == sizes
    for place, axis in enumerate(suite.axes):
        parts = [name.split("-") for name in axis.cases.values()]
        assert [int(re.sub(r"\D", "", part[place])) for part in parts] == list(axis.cases)
        others = {tuple(p for n, p in enumerate(part) if n != place) for part in parts}
        assert len(others) == 1


def test_axes_need_three_models():
    suite = SUITES["scaling"]
    tokens = suite.axes[1]
    (found,) = suite.axes_through(suite.chosen(list(tokens.cases.values())[1:]))
    assert (found.name, list(found.cases)) == ("tokens", [64, 144, 256])
    assert suite.axes_through(suite.cases[:2]) == []
    assert speed.SPEED.axes_through(speed.SPEED.cases) == []


def test_blocks_are_alike():
    known, found = speed.trained(), scaling.alike()
    assert found.rates == {kind: [fmean(rates)] for kind, rates in known.rates.items()}
    assert set(map(tuple, found.choices.values())) == {("4u",), ("8u",)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A suite of tiny networks by the command: what it printed as JSON, and its picture."""
    folder = tmp_path_factory.mktemp("tiny")
    suite = scaling.scaling(32, scaling.Size(2, 3, 1), (1, 2, 3), (2, 3, 4), (1, 2, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SUITES, "scaling", suite)
        arguments = ["bench", "--suite", "scaling", "--rounds", "1", "--json"]
        done = CliRunner().invoke(cli, [*arguments, "--plot", str(folder / "s.svg")])
    assert done.exit_code == 0, done.output
    return json.loads(done.output), folder / "s.svg"


def test_a_suite_grows_along_its_axes_alone(tiny):
    said, _ = tiny
    models = {model["name"]: model for model in said["models"]}
    assert len(models) == 7
    base = models["t2-tokens9-depth1"]
    grown = [models[f"t2-tokens9-depth{n}"]["parameters"] for n in (1, 2, 3)]
    assert grown[1] - grown[0] == grown[2] - grown[1] > 0
    assert {models[f"t{n}-tokens9-depth1"]["parameters"] for n in (1, 2, 3)} == {grown[0]}
    assert {models[f"t2-tokens{n}-depth1"]["parameters"] for n in (4, 9, 16)} == {grown[0]}
    for model in models.values():
        assert model["peers_ms"] == {}
        assert 4 < model["average_bits"] < 8
        assert list(model["rates"])[:5] == list(base["rates"])[:5]
        assert min(model["rates"].values()) > 0


def test_lines_are_drawn_through_what_was_measured(tiny):
    said, picture = tiny
    ms = {model["name"]: model["hqc_fastest_ms"] for model in said["models"]}
    steps, tokens, depth = said["growth"]
    assert steps["ms"] == [ms[f"t{n}-tokens9-depth1"] for n in (1, 2, 3)]
    assert tokens["ms"] == [ms[f"t2-tokens{n}-depth1"] for n in (4, 9, 16)]
    assert depth["ms"] == [ms[f"t2-tokens9-depth{n}"] for n in (1, 2, 3)]
    assert (steps["kept"], tokens["kept"], depth["kept"]) == (
        "9 tokens, depth 1", "T = 2, depth 1", "T = 2, 9 tokens",
    )  # fmt: skip
    found = texts(picture)
    assert {"time steps", "tokens", "depth"} <= set(found)
    assert len([text for text in found if "ms each" in text and text.endswith("% off")]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "speed", "nmnist"], "no three of these models of the suite speed"),
        (["model.onnx"], "draws what a suite gave"),
    ],
)
def test_there_must_be_something_to_draw(arguments, message):
    done = CliRunner().invoke(cli, ["bench", *arguments, "--plot", "s.svg"])
    assert isinstance(done.exception, UserError)
    assert message in done.exception.message
