"""Pictures of searches: they say what they should, and are the same every time."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner

from hqc.cli import cli
from hqc.search.plots import draw_pareto, draw_probabilities, draw_sensitivity, draw_weights
from hqc.search.results import CONFIG, RESULT
from hqc.search.run_folder import RunFolder


def texts(path):
    return set(re.findall(r"<text[^>]*>(.*?)</text>", path.read_text()))


def test_probabilities_have_a_panel_a_layer(tmp_path):
    layers = {"conv": {"2u": 0.4, "4u": 0.6}, "head": {"8u": 1.0}}
    metrics = [{"stage": "float"}, {"probabilities": layers}, {"probabilities": layers}]
    draw_probabilities(metrics, tmp_path / "p.svg")
    assert {"conv", "head", "2u", "4u", "epoch of the search"} <= texts(tmp_path / "p.svg")
    draw_probabilities([{"stage": "float"}], tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_weights_name_layers_and_their_choices_and_repeat(tmp_path):
    rng = np.random.default_rng(0)
    before = {"conv": rng.normal(size=50), "head": rng.normal(size=20)}
    after = {name: np.round(w) for name, w in before.items()}
    for name in ("a.svg", "b.svg"):
        draw_weights(before, after, {"conv": "4u", "head": "8u"}, tmp_path / name)
    assert {"conv  4u", "head  8u", "float", "quantized"} <= texts(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_sensitivities_are_a_heat_map_of_numbers(tmp_path):
    found = {"conv": {"8u": 0.01, "4u": 0.123}, "head": {"8u": 0.0}}
    draw_sensitivity(found, tmp_path / "s.svg")
    assert {"conv", "head", "1.0", "12.3", "0.0"} <= texts(tmp_path / "s.svg")


def finished(folder, method, accuracy, bits):
    run = RunFolder(folder, {"method": method})
    run.write_json(
        RESULT,
        {
            "accuracy": accuracy, "float_accuracy": 0.98, "average_bits": bits,
            "storage_ratio": 32 / bits, "energy_ratio": 32 / bits,
        },
    )  # fmt: skip


def test_compare_sets_runs_side_by_side(tmp_path):
    finished(tmp_path / "uniform", "uniform", 0.97, 8.0)
    finished(tmp_path / "beam", "beam", 0.96, 4.0)
    picture = tmp_path / "pareto.svg"
    arguments = ["compare", str(tmp_path / "uniform"), str(tmp_path / "beam")]
    shown = CliRunner().invoke(cli, [*arguments, "--plot", str(picture)])
    lines = [line.split()[1:] for line in shown.output.splitlines()[1:]]
    assert lines == [
        ["97.00%", "1.00%", "8.00", "25.00%", "25.00%"],
        ["96.00%", "2.00%", "4.00", "12.50%", "12.50%"],
    ]
    assert {"uniform", "beam"} <= texts(picture)
    (tmp_path / "beam" / CONFIG).unlink()
    assert CliRunner().invoke(cli, arguments).exception is not None


def test_pareto_as_png(tmp_path):
    draw_pareto([{"run": "a", "energy": 0.1, "accuracy": 0.9}], tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_runs_that_came_to_the_same_share_a_label(tmp_path):
    found = {"a": (0.125, 0.95), "b": (0.3, 0.94), "c": (0.127, 0.95)}
    rows = [{"run": run, "energy": e, "accuracy": a} for run, (e, a) in found.items()]
    draw_pareto(rows, tmp_path / "p.svg")
    assert {"a, c", "b"} <= texts(tmp_path / "p.svg")


@pytest.mark.parametrize("name", ["p.gif", "p"])
def test_other_pictures_are_refused(name, tmp_path):
    finished(tmp_path / "run", "uniform", 0.97, 8.0)
    arguments = ["compare", str(tmp_path / "run"), "--plot", str(tmp_path / name)]
    assert "are .svg or .png" in str(CliRunner().invoke(cli, arguments).exception)


def test_metrics_reach_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = RunFolder(tmp_path / "run", {}, tensorboard=True)
    for epoch, loss in enumerate((2.0, 1.5)):
        run.log("float", epoch, loss=loss, probabilities={})
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "float"))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 2.0), (1, 1.5)]
