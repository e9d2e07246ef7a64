"""What compiles, as a page: made from the rules and spellings that are registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hqc.dialect import DIALECT, ops
from hqc.frontend.neuron_names import INTEGRATORS, LEVELS, NODES
from hqc.passes.integer_rules.registry import rules
from hqc.passes.spellings.spelling import spellings

_FRAMES = """\
Frames [T, 1, C, H, W], lines [T, 1, C, L] or numbers [T, 1, C]; with the batch before time,
permuted or flattened inside, or without a batch; an image that the network repeats over time
itself. One recording. Tokens and images, channels before or behind positions, heads split off
anywhere, are followed axis by axis; the time axis is the one that neurons scan. Any part of
channels and positions can be taken, joined, repeated or summed, and where numbers do not lie as
a kernel reads them they are moved. What mixes time steps (parts of them, numbers that differ by
step, layers, convolutions and attention over time) is computed when all steps have been, and so is
what reads it; neurons behind it scan what is then the first axis. Frames may be normalized, pooled,
cut, joined or given to neurons before any layer."""

_OUTPUTS = """\
Classes of a mean of spikes, which is the fastest; potentials, spike counts, votes and layers on
these, or whole features, summed over time or at every time step."""

_PLAIN = """\
Kernels that are plain loops, right for every shape and fast for none; `hqc compile` says which
layers need them:"""

_NEURONS = """\
Those of several levels are `IntegerLIF`, or written as activations that are clipped and rounded,
`round(clamp(x, 0, n))` or `floor(clamp(x, 0, n) + 0.5)`, with a memory or without. A network may
be called for one time step after the other, its neurons in single-step mode, in a loop that stacks
or adds up what it gives; what depends on its own spikes of steps before is refused. Parallel
spiking neurons (PSN, SlidingPSN in all steps) are layers over time, and comparisons: one that is
read as a number, or chooses between two, is neurons without a memory."""

_ABOUT = """\
Made by `hqc ops` from what is registered. What is not here is refused, with the node's name and
what would help; so is a use of these that is not lowered."""


def coverage() -> str:
    """The page, in Markdown."""
    lowered = [
        f"| `{op_type}` | {', '.join(f'`{a}`' for a in sorted(rule.attributes)) or '-'} "
        f"| {_first_line(rule.lower)} |"
        for (domain, op_type), rule in sorted(rules().items())
        if not domain
    ]
    written = [
        f"| `{op_type}` | {_first_line(function)} |"
        for op_type, functions in sorted(spellings().items())
        for function in functions
    ]
    ours = [
        f"| `{op_type}` | {_first_line(rule.lower)} |"
        for (domain, op_type), rule in sorted(rules().items())
        if domain == DIALECT
    ]
    parts = [
        "# What compiles",
        "",
        _ABOUT,
        "",
        "## Frames and layouts",
        "",
        _FRAMES,
        "",
        "## Outputs",
        "",
        _OUTPUTS,
        "",
        "## Ops of standard ONNX",
        "",
        "| op | attributes | lowered to |",
        "|---|---|---|",
        *lowered,
        "",
        "Written otherwise before:",
        "",
        "| op | how |",
        "|---|---|",
        *written,
        "",
        "Constants that the graph computes are folded; `auto_pad` is written out.",
        "",
        f"## Ops of `{DIALECT}`",
        "",
        "| op | lowered to |",
        "|---|---|",
        *ours,
        "",
        "## Plain kernels",
        "",
        _PLAIN,
        "",
        *(f"- `{op.name}`: {op.plain}" for op in ops() if op.plain),
        "",
        "## Neurons of torch",
        "",
        _NEURONS,
        "",
        "`hqc.models.lif.LIF`, and",
        "",
        *_listed(NODES),
        "",
        "Of several levels, in all steps:",
        "",
        *_listed(LEVELS),
        "",
        "Read-outs without spikes:",
        "",
        *_listed(INTEGRATORS),
        "",
    ]
    return "\n".join(parts)


def _listed(names: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"- `{module}.{name}`" for module in names for name in names[module]]


def _first_line(function: object) -> str:
    return " ".join((function.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")
