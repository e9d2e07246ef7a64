"""Layout of target files, blocks with their inheritance, and the page made from the grammar."""

from __future__ import annotations

import pytest

from hqc.targets import load_profile, load_target, profile_names, target_names
from hqc.targets.formatting import format_text, show
from hqc.targets.schema import schema
from hqc.targets.syntax import Source, shipped
from tests.conftest import ROOT

UNTIDY = """
# Ours.
target b   extends arm-a72{ about "B"   # the board
   cache l2 512 KiB,l1d 32 KiB


   # Measured.
   clock 1.8   GHz }
energy e { a=-1 pJ*(2+weights)^2 from "here"
  long = a  if spiking
else 0 pJ
  storage=weights*weight_bits
energy = a+long }
# End.
"""

TIDY = """\
# Ours.
target b extends arm-a72 {
  about "B"  # the board
  cache l2 512 KiB, l1d 32 KiB

  # Measured.
  clock 1.8 GHz
}

energy e {
  a       = -1 pJ * (2 + weights)^2 from "here"
  long    = a if spiking
      else 0 pJ
  storage = weights * weight_bits
  energy  = a + long
}
# End.
"""


def test_layout():
    assert format_text(Source("b.hqt", UNTIDY)) == TIDY
    assert format_text(Source("b.hqt", TIDY)) == TIDY


@pytest.mark.parametrize(
    "source", list(dict.fromkeys(b.source for b in shipped())), ids=lambda s: s.path
)
def test_shipped_files_have_their_layout(source):
    assert format_text(source) == source.text


@pytest.mark.parametrize("name", target_names())
def test_what_a_target_shows_means_the_same(name, tmp_path):
    (tmp_path / "shown.hqt").write_text(show("target", name))
    assert load_target(str(tmp_path / "shown.hqt")) == load_target(name)


def test_what_is_inherited_says_from_where():
    assert "  vector   128 bit  # from armv8-a\n" in show("target", "arm-a72")


def test_a_profile_shows_what_it_replaces_and_what_it_keeps(tmp_path):
    (tmp_path / "mine.hqt").write_text(
        "energy mine extends horowitz-45nm {\n  dram = 2.6 nJ / 64 bit\n}\n"
    )
    shown = show("energy", str(tmp_path / "mine.hqt"))
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert (
        'float_add = 0.9 pJ from "Horowitz 2014: float add, 32 bit" # from horowitz-45nm' in lines
    )
    assert "dram = 2.6 nJ / 64 bit" in lines
    (tmp_path / "shown.hqt").write_text(shown)
    again = load_profile(str(tmp_path / "shown.hqt"))
    assert set(again.equations) == set(load_profile("horowitz-45nm").equations)


def test_every_profile_shows():
    for name in profile_names():
        assert show("energy", name).startswith(f"energy {name} {{\n")


def test_the_page_is_made_from_the_grammar():
    assert (ROOT / "docs" / "target-files.md").read_text() == schema()
