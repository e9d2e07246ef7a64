"""Checkpoints as training scripts leave them."""

from __future__ import annotations

import collections

import pytest
import snntorch as snn
import torch
from torch import nn

from hqc.errors import UserError
from hqc.frontend.checkpoint import load_checkpoint


def net(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(3, width), nn.BatchNorm1d(width), snn.Leaky(0.5, init_hidden=True),
        nn.Linear(width, 2),
    )  # fmt: skip


def weights():
    return net(seed=1).state_dict()


def prefixed(prefix, found=None):
    return {f"{prefix}{name}": value for name, value in (found or weights()).items()}


def without_counts():
    return {k: v for k, v in weights().items() if not k.endswith("num_batches_tracked")}


OTHER = {f"layer{i}.weight": torch.ones(2) for i in range(30)}
FORMS = {
    "alone": (weights, None),
    "state_dict": (lambda: {"state_dict": weights(), "epoch": 3}, "state_dict"),
    "model": (lambda: {"model": weights(), "optimizer": {"state": {}}}, "model"),
    "ema": (lambda: {"model": OTHER, "model_ema": weights()}, "model_ema"),
    "in the ema": (lambda: {"ema": {"module": weights(), "decay": 0.9}}, "ema.module"),
    "two that fit": (lambda: {"ema": net(seed=2).state_dict(), "model": weights()}, "model"),
    "parallel": (lambda: prefixed("module."), None),
    "lightning": (lambda: {"state_dict": prefixed("model.")}, "state_dict"),
    "compiled": (lambda: prefixed("_orig_mod."), None),
    "compiled in part": (lambda: {k.replace("0.", "0._orig_mod."): v for k, v in weights().items()},
                         None),
    "all of them": (lambda: {"net": prefixed("module._orig_mod.model.")}, "net"),
    "averaged": (lambda: {"n_averaged": torch.tensor(3), **prefixed("module.")}, None),
    "memories": (lambda: {**weights(), "2.mem": torch.ones(7, 4)}, None),
    "no counts": (without_counts, None),
    "ordered": (lambda: collections.OrderedDict(weights()), None),
}  # fmt: skip


def save(content, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_where_scripts_keep_them(form, tmp_path):
    make, key = FORMS[form]
    loaded, own = None, net()
    loaded = load_checkpoint(own, save(make(), tmp_path))
    assert (loaded.key, loaded.left_out) == (key, "")
    for name, value in own.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, weights()[name]), name


def test_what_differs_is_listed(tmp_path):
    found = {**weights(), **OTHER, "3.weight": torch.ones(5, 5)}
    del found["0.bias"], found["1.running_mean"]
    with pytest.raises(UserError) as raised:
        load_checkpoint(net(), save(found, tmp_path))
    message = raised.value.message
    assert "2 missing: 0.bias, 1.running_mean;" in message
    assert "30 unexpected: layer0.weight, layer1.weight," in message
    assert "layer9.weight, ...;" in message
    assert "layer10" not in message
    assert "1 of another shape: 3.weight [5, 5] for [2, 4]" in message
    assert "--no-strict" in raised.value.hint


def test_what_fits_is_loaded_where_that_is_asked_for(tmp_path):
    found = {**weights(), "3.weight": torch.ones(5, 5), "more": torch.ones(1)}
    own, before = net(), net().state_dict()
    loaded = load_checkpoint(own, save(found, tmp_path), strict=False)
    assert loaded.left_out == "1 unexpected: more; 1 of another shape: 3.weight [5, 5] for [2, 4]"
    assert torch.equal(own[0].weight, weights()["0.weight"])
    assert torch.equal(own[3].weight, before["3.weight"])
    with pytest.raises(UserError, match=r"does not fit the module: 1.*missing") as raised:
        load_checkpoint(net(), save(OTHER, tmp_path), strict=False)
    assert "--no-strict" not in raised.value.hint


class Evil:
    def __reduce__(self):
        return (print, ("run!",))


@pytest.mark.parametrize(
    "content",
    [Evil(), {"model": Evil()}, nn.Sequential(nn.Linear(2, 2))],
    ids=["all", "part", "net"],
)
def test_code_is_not_run(content, tmp_path, capsys):
    with pytest.raises(UserError, match="does not run code in checkpoints") as raised:
        load_checkpoint(net(), save(content, tmp_path))
    wanted = "torch.nn.modules.container.Sequential" if isinstance(content, nn.Module) else "print"
    assert wanted in raised.value.message
    assert "model.state_dict()" in raised.value.hint
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x02.", b"some text"])
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.pt is no checkpoint that torch reads"):
        load_checkpoint(net(), path)


@pytest.mark.parametrize("content", [3, [1, 2], {"epoch": 3}, {"state_dict": {"a": 1}}, {}])
def test_what_holds_no_weights_is_refused(content, tmp_path):
    with pytest.raises(UserError, match="holds no state_dict") as raised:
        load_checkpoint(net(), save(content, tmp_path))
    assert "torch.save(model.state_dict(), path)" in raised.value.hint


def test_safetensors(tmp_path):
    safe = pytest.importorskip("safetensors.torch")
    own, path = net(), tmp_path / "weights.safetensors"
    safe.save_file(weights(), path)
    load_checkpoint(own, path)
    assert torch.equal(own[3].weight, weights()["3.weight"])
    path.write_bytes(b"none")
    with pytest.raises(UserError, match="no whole safetensors file"):
        load_checkpoint(own, path)
