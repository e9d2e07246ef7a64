"""`python -m tests.fuzz.taken_back`: takes fixes back, one at a time, until the fuzzer finds each.

Every mistake here was made once. A net that does not catch what it was made for is none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import click
import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from hqc.codegen.kernels import packed_attention
from hqc.dialect import intervals
from hqc.passes import fold_padding
from hqc.passes.fold_constants import FoldConstants
from hqc.passes.integer_rules import arithmetic, linear, neurons, quantity, registry, sums
from hqc.passes.packing import layers
from tests.fuzz.networks import Network, networks
from tests.fuzz.oracle import check

_MISTAKES: dict[str, tuple[Callable[[], mock._patch], str | None]] = {}


def mistake(name: str, target: str | None = None) -> Callable:
    """Register what puts a mistake back; `target` is what must be compiled for to see it."""

    def register(function: Callable[[], mock._patch]) -> Callable:
        _MISTAKES[name] = function, target
        return function

    return register


@mistake("1 computed biases are dropped")
def drop_biases():
    """Constants are not folded, and a bias that is none is overlooked."""

    def constant(self, node, index):
        value = node.inputs[index] if len(node.inputs) > index else None
        return None if value is None else quantity.constant(value)

    kept = mock.patch.object(FoldConstants, "run", lambda self, model: model)
    overlooked = mock.patch.object(quantity.Lowering, "constant", constant)
    return kept, overlooked


@mistake("2 unsigned codes wrap")
def wrap_codes():
    """Codes are stored in as many bits as their quantizer has, signed or not."""
    true = sums.store_codes

    def codes(node, lowering, weights):
        bits = next(b for b in (8, 16, 32) if weights.bits <= b)
        kept = weights.codes.astype(np.int64).astype(f"int{bits}").astype(np.float64)
        return true(node, lowering, replace(weights, codes=kept))

    return (mock.patch.object(sums, "store_codes", codes),)


@mistake("3 potentials saturate at 128")
def saturate():
    """Bias and multiplier are those of a branch held within 128."""
    true = quantity.rescale_interval

    def interval(low, high, multiplier, bias, shift):
        low, high = true(low, high, multiplier, bias, shift)
        return np.clip(low, -(128 << 18), 128 << 18), np.clip(high, -(128 << 18), 128 << 18)

    return (mock.patch.object(quantity, "rescale_interval", interval),)


@mistake("4 attention reads one plane", target="host")
def read_one_plane():
    """The kernel takes q, k and v for spikes, whatever planes they have."""
    true = packed_attention._build

    def build(tokens, columns, channels, head_dim, planes, *others):
        return true(tokens, columns, channels, head_dim, (1, 1, 1), *others)

    return (mock.patch.object(packed_attention, "_build", build),)


@mistake("5 sums have 32 bits")
def narrow_sums():
    """Kernels add in 32 bits, whatever codes and inputs can reach."""
    return (mock.patch.object(layers, "_fits", return_value=True),)


@mistake("6 frames are added to spikes")
def add_frames():
    """Frames pass for small integers."""
    true = arithmetic.lower_addition

    def addition(node, lowering):
        for value in node.inputs:
            found = lowering.env.get(value)
            if isinstance(found, quantity.Quantity) and found.kind == "frames":
                lowering.env[value] = replace(found, kind="levels", scale=np.float64(1))
        return true(node, lowering)

    rule = registry._RULES["", "Add"]
    return (mock.patch.dict(registry._RULES, {("", "Add"): replace(rule, lower=addition)}),)


@mistake("7 constants along any axis count by channel")
def any_axis():
    """A vector is taken along the channels wherever it lies."""

    return (
        mock.patch.object(arithmetic, "_is_by_channel", return_value=True),
        mock.patch.object(arithmetic, "named", lambda view, channels: view),
    )


@mistake("8 auto_pad is overlooked")
def overlook_auto_pad():
    """The attribute is dropped, and no padding takes its place."""
    return (
        mock.patch.object(
            fold_padding, "_write_pads", lambda node: node.attributes.pop("auto_pad", None)
        ),
    )


@mistake("9 leaks are exact in the proof")
def exact_leaks():
    """Potentials are bounded as if nothing were rounded, and two bits too high."""
    true = intervals.neuron_interval

    def interval(low, high, bias, threshold, reset, time_steps, given):
        quarter = [np.asarray(a, np.int64) // 4 for a in (low, high, bias, reset)]
        low, high, bias, reset = quarter
        return true(low, high, bias, np.asarray(threshold) // 4, reset, time_steps, given)

    return (mock.patch.object(neurons, "neuron_interval", interval),)


@mistake("12 a head's bias is rounded to units of its sums")
def coarse_bias():
    """It has no fractional bits."""
    true = linear._classifier

    def classifier(node, lowering, x, weights, made):
        units = np.round(made.offset / made.scale) * made.scale
        return true(node, lowering, x, weights, replace(made, offset=units))

    return (mock.patch.object(linear, "_classifier", classifier),)


class _FoundError(BaseException):
    """Leaves hypothesis, which catches every `Exception`."""


def find(name: str, minutes: float) -> tuple[str, int, float]:
    """What was found wrong, after how many networks, in how many seconds; "" where nothing was."""
    patches, target = _MISTAKES[name]
    start, count = time.monotonic(), 0
    for seed in range(10**6):

        @hypothesis.seed(seed)
        @settings(
            max_examples=50,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(networks())
        def run(network: Network) -> None:
            nonlocal count
            count += 1
            if time.monotonic() - start > 60 * minutes:
                raise _FoundError("")
            worth = target is None or _may_show(network)
            try:
                if worth:
                    check(network, target)
            except AssertionError as error:
                raise _FoundError(str(error).partition("\n")[0]) from None

        try:
            for patch in patches_of(patches):
                patch.start()
            run()
        except _FoundError as found:
            return str(found), count, time.monotonic() - start
        finally:
            mock.patch.stopall()
    raise AssertionError("out of seeds")


def patches_of(make: Callable) -> tuple:
    """The patches of a mistake, anew."""
    return make()


def _may_show(network: Network) -> bool:
    """Whether a network has attention, so that compiling it is worth the time."""
    products = [n for n in network.proto.graph.node if n.op_type == "MatMul"]
    return len(products) > 2


@click.command()
@click.option("--minutes", default=10.0, help="How long for each.")
@click.argument("names", nargs=-1)
def main(minutes: float, names: tuple[str, ...]) -> None:
    """Take fixes back, all or those whose names begin so, and say when each was found."""
    chosen = [n for n in _MISTAKES if not names or n.startswith(names)]
    missed = 0
    for name in chosen:
        found, count, seconds = find(name, minutes)
        missed += not found
        click.echo(f"{name}: {found or 'NOT FOUND'} ({count} networks, {seconds:.0f} s)")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
