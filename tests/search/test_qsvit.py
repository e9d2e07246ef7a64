"""QSViT: its scales, its steps, and that what it chooses loses little."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hqc.errors import UserError
from hqc.models.meta_spikeformer import MetaSpikeFormer
from hqc.post_training.qsvit import SENSITIVE, lowest
from hqc.quantize import apply_recipe
from hqc.search.method import Options, find_method
from hqc.search.post_training import Trial, kinds_of, ranged_quantizer
from hqc.search.run_folder import RunFolder
from tests.search.places import network, places


@pytest.fixture(scope="module")
def task():
    return places()


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
def test_scales_are_range_over_range(bits):
    weight = torch.linspace(-1.0, 0.5, 40).reshape(4, 10)
    module = ranged_quantizer(f"{bits}u", weight)
    assert module.scale.tolist() == pytest.approx([2 / (2**bits - 1)] * 4)
    assert (module.eval()(weight) - weight).abs().max() <= module.scale[0]
    codes = (module.eval()(weight) / module.scale[:, None]).round()
    assert codes.min() >= -(2 ** (bits - 1))
    assert codes.max() <= 2 ** (bits - 1) - 1


@pytest.mark.parametrize(
    ("name", "layer", "kind"),
    [
        ("tokenizer.0.conv", nn.Conv2d(2, 4, 3), "conv"),
        ("stem.dw", nn.Conv2d(4, 4, 3, groups=4), "dwconv"),
        ("stem.pw", nn.Conv2d(4, 8, 1), "pwconv"),
        ("blocks.0.attention.q.linear", nn.Linear(4, 4), "sdsa"),
        ("block.0.attn.k_conv", nn.Conv2d(4, 4, 1), "sdsa"),
        ("blocks.0.attention.proj.linear", nn.Linear(4, 4), "linear"),
        ("head", nn.Linear(4, 4), "linear"),
    ],
)
def test_kinds_of_layers(name, layer, kind):
    model = nn.Module()
    owner = model
    *path, last = name.split(".")
    for part in path:
        owner.add_module(part, nn.Module())
        owner = getattr(owner, part)
    owner.add_module(last, layer)
    assert kinds_of(model) == {name: kind}


def test_layers_of_a_repconv_are_a_kind_of_their_own():
    with torch.device("meta"):
        model = MetaSpikeFormer(dims=(8, 8, 8, 8), depths=(1, 1), heads=2)
    kinds = kinds_of(model)
    assert set(kinds.values()) == {"conv", "pwconv", "dwconv", "sdsa", "repconv", "linear"}
    assert kinds["stages.8.attention.proj.conv.mix"] == "repconv"
    assert kinds["stages.1.mixer.depthwise"] == "dwconv"


def test_the_lowest_precision_before_one_that_costs_too_much():
    drops = {"16u": 0.0, "12u": 0.01, "8u": 0.06, "4u": 0.0}
    assert lowest(list(drops), lambda c: drops[c] <= SENSITIVE) == "12u"
    assert lowest(["16u", "8u"], lambda c: False) == "16u"


def test_a_trial_leaves_the_model_as_it_was(task):
    model = network()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    trial = Trial(model, task.train, task.train[0][:4].float().transpose(0, 1))
    trial.drop(dict.fromkeys(trial.layers, "4u"))
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())


def test_the_four_steps(task, tmp_path):
    options = Options(keep={"head": "8u"}, float_epochs=25, batch=8)
    run = RunFolder(tmp_path / "run", {})
    model = network()
    result = find_method("qsvit")(model, task, options, run)
    assert result["float_accuracy"] > 0.9
    assert result["accuracy"] >= result["float_accuracy"] - 0.1
    assert set(result["sensitivity"]) == set(result["choices"])
    assert set(result["base"]) == {"conv", "linear", "sdsa"}
    assert result["choices"]["head"] == "8u"
    assert set(result["choices"].values()) <= {"16u", "12u", "8u", "4u"}
    for name, choice in result["choices"].items():
        assert result["sensitivity"][name][choice] <= SENSITIVE or choice == "16u"
    again = apply_recipe(network(), result["choices"])
    again.load_state_dict(run.load("train"))
    frames = task.test[0].float().transpose(0, 1)
    assert torch.equal(again.eval()(frames), model.eval()(frames))


@pytest.mark.parametrize("choices", [("8u", "4l"), ("fp32", "4u")])
def test_choices_that_are_not_uniform_are_refused(task, tmp_path, choices):
    with pytest.raises(UserError, match="is not uniform"):
        find_method("qsvit")(
            network(), task, Options(choices=choices), RunFolder(tmp_path / "r", {})
        )
