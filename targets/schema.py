"""The page that describes target files, made from their grammar and from what equations may use."""

from __future__ import annotations

import re
from dataclasses import asdict

from hqc.targets.costs import MEANINGS, Costs
from hqc.targets.energy import QUANTITIES
from hqc.targets.expressions import FUNCTIONS
from hqc.targets.syntax import grammar
from hqc.targets.units import UNITS

_RULE = re.compile(r"(?P<notes>(?://[^\n]*\n)+)(?P<name>\w+): (?P<body>[^\n]*(?:\n[ ]+[^\n]*)*)")
_BLOCKS = ("target", "energy")


def schema() -> str:
    """The page, in Markdown."""
    rules = {
        match["name"]: (
            " ".join(note.removeprefix("//").strip() for note in match["notes"].splitlines()),
            match["body"],
        )
        for match in _RULE.finditer(grammar())
    }
    lines = [
        "# Target files",
        "",
        "Made by `hqc targets schema` from the grammar, `targets/hqt.lark`. A file holds targets",
        "and energy profiles in any order; `hqc targets show NAME` prints one with all that it",
        "inherits, `hqc targets fmt FILE` lays a file out.",
        "",
    ]
    for block in _BLOCKS:
        meaning, form = rules.pop(block)
        lines += [f"## {block}", "", meaning, "", f"    {_form(form)}", ""]
        members = re.search(rf"^{_members(form)}: (.*)$", grammar(), re.MULTILINE)[1].split(" | ")
        lines += ["| statement | form | meaning |", "|---|---|---|"]
        lines += [f"| {name} | `{_form(rules[name][1])}` | {rules[name][0]} |" for name in members]
        lines.append("")
    lines += ["## Costs", "", "| part | usual | meaning |", "|---|---|---|"]
    usual = asdict(Costs())
    lines += [f"| `{part}` | {usual[part]:g} | {about} |" for part, about in MEANINGS.items()]
    lines += ["", "## Expressions", "", "| name | form | meaning |", "|---|---|---|"]
    for name in ("parameter", "number"):
        lines.append(f"| {name} | `{_form(rules[name][1])}` | {rules[name][0]} |")
    lines += [
        "",
        "Operators, from the loosest: `x if condition else y`, `+ -`, `* /`, `-x`, `x^2`. A",
        "condition is a number (0 is no), `not` of one, or a comparison with `< <= > >= ==`.",
        "",
        "| function | gives |",
        "|---|---|",
        *(f"| `{name}` | {function.about} |" for name, function in FUNCTIONS.items()),
        "",
        "## Units",
        "",
        "| unit | in base units | dimension |",
        "|---|---|---|",
        *(f"| {unit} | {factor:g} | {dimension} |" for unit, (factor, dimension) in UNITS.items()),
        "",
        "## Quantities of a layer",
        "",
        "| name | dimension | meaning |",
        "|---|---|---|",
        *(f"| `{n}` | {dimension} | {about} |" for n, (dimension, about) in QUANTITIES.items()),
    ]
    return "\n".join(lines) + "\n"


def _members(form: str) -> str:
    return re.search(r"(_\w+)\*", form)[1]


def _form(body: str) -> str:
    """A rule's body as a reader writes it: words without quotes, terminals by what they are."""
    body = re.sub(r"\s+", " ", body)
    body = re.sub(r'"([^"]+)"', r"\1", body)
    return body.replace("|", "or").replace(" _", " ")
