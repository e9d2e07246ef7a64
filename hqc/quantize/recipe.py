"""Recipes: which quantizer each layer's weights get."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize

from hqc.errors import UserError
from hqc.quantize.pow2 import QuantPow2
from hqc.quantize.uniform import QuantUniform

Choice = str
"""`"fp32"`, or bits and scheme in SpikeHQ's notation: `"4u"` uniform, `"2l"` power of two."""

Recipe = Mapping[str, Choice]
"""Choices by layer name; names may be globs, and the first that matches decides."""

_CHOICE = re.compile(r"(?P<bits>[2-9]|1[0-6])(?P<scheme>[ul])")


def quantizer(choice: Choice, weight: Tensor) -> QuantUniform | QuantPow2 | None:
    """The quantizer of a choice for a weight, one scale a channel, on its device; None for fp32."""
    if choice == "fp32":
        return None
    match = _CHOICE.fullmatch(choice)
    if not match:
        raise UserError(f"unknown quantizer {choice!r}", hint="write fp32, or e.g. 4u, 2l, 8u")
    bits = int(match["bits"])
    kind = QuantUniform if match["scheme"] == "u" else QuantPow2
    return kind(bits, len(weight)).to(weight.device)


Layer = nn.Conv1d | nn.Conv2d | nn.Linear


def quantizable_layers(model: nn.Module) -> dict[str, Layer]:
    """The layers that a recipe can name: every convolution and linear layer."""
    return {n: m for n, m in model.named_modules() if isinstance(m, Layer)}


def resolve(model: nn.Module, recipe: Recipe) -> dict[str, Choice]:
    """The choice of every quantizable layer, by the first pattern that matches its name.

    Raises `UserError` for layers left out, and for patterns that no layer matches.
    """
    names = list(quantizable_layers(model))
    idle = [p for p in recipe if not any(fnmatch.fnmatchcase(n, p) for n in names)]
    if idle:
        raise UserError(
            f"the recipe's pattern {idle[0]!r} matches no layer",
            hint=f"layers with weights are: {', '.join(names) or 'none'}",
        )
    choices = {
        name: next((c for p, c in recipe.items() if fnmatch.fnmatchcase(name, p)), None)
        for name in names
    }
    left_out = [name for name, choice in choices.items() if choice is None]
    if left_out:
        raise UserError(
            f"the recipe names no quantizer for {', '.join(map(repr, left_out))}",
            hint='a last pattern "*" is for all others, e.g. {"head": "8u", "*": "4u"}',
        )
    return choices


def apply_recipe(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Put the recipe's quantizers, calibrated, on the model's weights in place; return it."""
    layers = quantizable_layers(model)
    for name, choice in resolve(model, recipe).items():
        layer = layers[name]
        module = quantizer(choice, layer.weight)
        if module is not None:
            if "weight" not in dict(layer.named_parameters()) and not hasattr(
                layer, "parametrizations"
            ):
                raise UserError(
                    f"layer {name!r}: its weight is no parameter, but computed before each call",
                    hint="make it one: torch.nn.utils.prune.remove(layer, 'weight') after pruning, "
                    "remove_weight_norm or remove_spectral_norm after these",
                )
            module.calibrate(layer.weight)
            parametrize.register_parametrization(layer, "weight", module)
    return model


def average_bits(model: nn.Module, recipe: Recipe) -> float:
    """Bits per weight, averaged over all weights of quantizable layers (32 for fp32)."""
    layers = quantizable_layers(model)
    sizes = {name: layers[name].weight.numel() for name in layers}
    bits = {n: 32 if c == "fp32" else int(c[:-1]) for n, c in resolve(model, recipe).items()}
    return sum(bits[n] * sizes[n] for n in sizes) / sum(sizes.values())
