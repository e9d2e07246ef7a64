"""SpikingJelly's neurons as ours, so that its networks are trained, searched and exported alike."""

from __future__ import annotations

import math

from torch import nn

from hqc.errors import UnsupportedModelError
from hqc.models.lif import LIF

_KINDS = {
    "LIFNode": "lif",
    "IFNode": "if",
    "ParametricLIFNode": "parametric",
    "MultiStepLIFNode": "lif",
    "MultiStepIFNode": "if",
    "MultiStepParametricLIFNode": "parametric",
}


def with_own_neurons(model: nn.Module) -> nn.Module:
    """Replace SpikingJelly's LIF, IF and parametric LIF nodes by `LIF`, in place; return the model.

    Potentials start at 0 in every call, so nothing needs to be reset; a learned tau stays as it is;
    training goes on with our surrogate gradient. Raises `UnsupportedModelError`, naming the layer,
    for other neurons and for nodes in single-step mode.
    """
    for name, module in list(model.named_modules()):
        if not any(c.__name__ == "BaseNode" for c in type(module).__mro__):
            continue
        parent_name, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent_name), child, _own(name, module))
    return model


def _own(name: str, node: nn.Module) -> LIF:
    kind = _KINDS.get(type(node).__name__)
    if kind is None:
        raise UnsupportedModelError(
            f"layer {name!r}: there is no {type(node).__name__} among the neurons that compile",
            hint="use LIFNode, ParametricLIFNode or IFNode",
        )
    if getattr(node, "step_mode", "m") != "m":
        raise UnsupportedModelError(
            f"layer {name!r} is in single-step mode",
            hint="functional.set_step_mode(model, 'm'), and give frames [T, N, ...]",
        )
    v_threshold, v_reset = (getattr(node, name) for name in ("v_threshold", "v_reset"))
    if kind == "if":
        return LIF(math.inf, v_threshold, v_reset, decay_input=False)
    learned = getattr(node, "w", None)
    tau = getattr(node, "tau", None) if learned is None else 1 / learned.detach().sigmoid()
    return LIF(float(tau), v_threshold, v_reset, getattr(node, "decay_input", True))
