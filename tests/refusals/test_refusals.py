"""What hqc refuses, and in which words: every refusal in the compiler has a smallest model.

The table is in `cases`, a file for each part of the compiler.
"""

from __future__ import annotations

import re

import pytest

from hqc.errors import UserError
from tests.refusals.case import Case, outcome
from tests.refusals.cases import CASES
from tests.refusals.sites import sites, sites_of

UNREACHABLE = {
    # An input that is not in float32 is refused when its dimensions are bound, before.
    ("hqc.frontend.load", "frames.dtype.name"),
    # The checker of ONNX refuses every attribute that its op does not have, and rules name all that
    # ops have in the opset that models are brought to. A later opset may add some.
    ("hqc.passes.integer_rules.registry", "its attribute"),
    # Views are refused where they take an axis of channels apart that numbers still go by.
    ("hqc.passes.integer_rules.quantity", "none of them the"),
    # Biases that do not fit what their layers give are refused when the model is loaded.
    ("hqc.passes.integer_rules.sums", "numbers for"),
    # Inputs are rescaled before, so that 64 bits hold the sums.
    ("hqc.passes.integer_rules.sums", "error.what"),
}
"""Refusals that no model meets, by module and a part of their text: an earlier one comes first."""


def fits(text: str | None, said: str | None) -> bool:
    """Whether a text of the table, with "..." for anything, is what was said."""
    if text is None or said is None:
        return text is said
    return re.fullmatch(".*".join(map(re.escape, text.split("..."))), said, re.DOTALL) is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_model_is_refused_in_these_words(case: Case):
    found = outcome(case)
    assert isinstance(found.error, UserError), "it was compiled"
    assert fits(case.message, found.message), found.message
    assert fits(case.hint, found.hint), found.hint


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nodes_are_called_as_the_user_calls_them(case: Case):
    """Less the name of what a pass puts beside a node, as in `mean/Rescale`."""
    found = outcome(case)
    named = re.findall(r"node '([^']*)'", found.message)
    assert {re.sub("/(Rescale|Read|Expand)$", "", name) for name in named} <= found.nodes


def test_names_of_cases_are_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_every_refusal_is_in_the_table():
    met = frozenset().union(*(sites_of(outcome(case).error) for case in CASES))
    unmet = sites() - met
    allowed = {
        (module, text): [s for s in unmet if s.module == module and text in s.text]
        for module, text in UNREACHABLE
    }
    assert {key for key, found in allowed.items() if not found} == set(), "these are no refusals"
    missing = unmet - {s for found in allowed.values() for s in found}
    assert not missing, "no case in tests/refusals/cases meets\n" + "\n".join(map(str, missing))
