"""Quantizers as torch modules, trained with straight-through gradients, and recipes of them."""

from hqc.quantize.pow2 import QuantPow2
from hqc.quantize.recipe import Choice, Recipe, apply_recipe, average_bits
from hqc.quantize.uniform import QuantUniform

__all__ = ["Choice", "QuantPow2", "QuantUniform", "Recipe", "apply_recipe", "average_bits"]
