"""Every mistake in a target file is one message with file, line, column, excerpt and caret."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hqc.errors import TargetFileError, UserError
from hqc.targets import load_profile, load_target
from hqc.targets.formatting import format_text
from hqc.targets.syntax import Source, keywords, shipped

TARGET_MISTAKES = [
    ("", "1:1", "no target or energy profile"),
    ("# only a comment\n", "1:1", "no target or energy profile"),
    ("target", "1:7", "ends too early; expected a name"),
    ("target x", "1:9", "ends too early; expected extends or {"),
    ("target x {", "1:11", "ends too early"),
    ("target x { } }", "1:14", "did not expect '}'"),
    ("targt x { }", "1:1", "did not expect 'targt'"),
    ("target X { }", "1:8", "did not expect 'X'"),
    ("target 7up { }", "1:8", "did not expect '7up'"),
    ("target x extend armv8-a { }", "1:10", "did not expect 'extend'"),
    ("target x extends { }", "1:18", "expected a name"),
    ("target x extends armv8 { }", "1:18", "no target 'armv8' to extend"),
    ("target x extends y { }\ntarget y extends x { }", "1:18", "each other: y -> x -> y"),
    ("target x extends x { }", "1:18", "each other: x -> x"),
    ("target a { }\ntarget a { }", "2:8", "'a' is defined twice"),
    ("target x {\n  vectr 12 bit\n}", "2:3", "did not expect 'vectr'"),
    ("target x {\n  vector 128 bits\n}", "2:14", "'bits' is not a unit"),
    ("target x {\n  vector 128\n}", "2:10", "a plain number, not a size"),
    ("target x {\n  vector 128 MHz\n}", "2:10", "this is 1/s, not a size"),
    ("target x {\n  vector 100 bit\n}", "2:10", "vectors of 0, 64 or 128 bit"),
    ("target x {\n  vector 4096 bit\n}", "2:10", "vectors of 0, 64 or 128 bit"),
    ("target x {\n  vector -128 bit\n}", "2:10", "did not expect '-128'"),
    ("target x {\n  vector 1e999 bit\n}", "2:10", "too large"),
    ("target x {\n  vector bit\n}", "2:10", "expected a number"),
    ("target x {\n  cache l2 1 MB\n}", "2:14", "'MB' is not a unit"),
    ("target x {\n  cache l4 1 MiB\n}", "2:9", "did not expect 'l4'"),
    ("target x {\n  cache l2 1 GHz\n}", "2:12", "this is 1/s, not a size"),
    ("target x {\n  cache l2 1 MiB, l2 2 MiB\n}", "2:19", "'l2' is said twice"),
    ("target x {\n  cache l2 1 MiB l3 2 MiB\n}", "2:18", "did not expect 'l3'"),
    ("target x {\n  cache l1d 32 KiB 2 ways lru\n}", "2:20", "ways need the size of a line"),
    ("target x {\n  cache l1d 32 KiB 2 ways\n}", "3:1", "expected lru or random"),
    ("target x {\n  cache l1d 32 KiB 3 ways lru, line 64 B\n}", "2:20", "32768 B in 3 ways"),
    ("target x {\n  cache l1d 24 KiB 2 ways lru, line 64 B\n}", "2:20", "are no 1, 2, 4, 8"),
    ("target x {\n  cache l1d 32 KiB 0 ways lru, line 64 B\n}", "2:20", "32768 B in 0 ways"),
    ("target x {\n  cache l1d 32 KiB 1.5 ways lru, line 64 B\n}", "2:20", "in 1.5 ways"),
    ("target x {\n  cache l1d 1 bit 1 ways lru, line 64 B\n}", "2:19", "0 B in 1 ways"),
    ("target x {\n  cache l1d 32 KiB, line 48 B\n}", "2:26", "a line is 1, 2, 4, 8"),
    ("target x {\n  cache l1d 32 KiB, line 64\n}", "2:26", "a plain number, not a size"),
    ("target x {\n  cache line 64 B\n}", "2:9", "expected l1d, l1i, l2 or l3"),
    ("target x {\n  cycles 1 instruction\n}", "3:1", "expected from"),
    ('target x {\n  cycles 9 l1d miss from "a"\n}', "2:12", "expected instruction"),
    ('target x {\n  cycles 1e999 instruction from "a"\n}', "2:10", "too large"),
    ('target x {\n  cycles 1 instruction from "a", 9 l1i miss from "b"\n}', "2:36", "not counted"),
    (
        'target x {\n  cycles 1 instruction from "a", 1 l2 miss from "b", 2 l2 miss from "c"\n}',
        "2:56",
        "'l2' is said twice",
    ),
    ("target x {\n  clock 1.5\n}", "2:9", "a plain number, not a frequency"),
    ("target x {\n  clock 1.5 ns\n}", "2:9", "this is s, not a frequency"),
    ("target x {\n  clock 1..5 GHz\n}", "2:10", "did not expect '.'"),
    ("target x {\n  costs 5\n}", "3:1", "expected a name"),
    ("target x {\n  costs 5 plane\n}", "3:1", "expected ',' or from"),
    ('target x {\n  costs 5 plan from "a"\n}', "2:11", "no part 'plan'"),
    ('target x {\n  costs 5 plane, 6 plane from "a"\n}', "2:20", "'plane' is said twice"),
    ('target x {\n  costs 1e999 plane from "a"\n}', "2:9", "too large"),
    ('target x {\n  about "open\n}', "2:9", "no closing"),
    ("target x {\n  about open\n}", "2:9", 'expected a text in "quotes"'),
    ('target x {\n about "b"\n about "c"\n}', "3:2", "about is said twice"),
    ('target x {\n  llvm tripel "a"\n}', "2:8", "did not expect 'tripel'"),
    ('target x {\n  llvm triple "a", triple "b"\n}', "2:20", "'triple' is said twice"),
    ('target x {\n  llvm triple "a",\n}', "3:1", "did not expect '}'"),
    ('target x { about "b" }', "1:8", "says no 'llvm' triple and cpu"),
    ('target x { llvm triple "arm" }', "1:8", "says no 'llvm' triple and cpu"),
    ('target x { llvm triple "arm", cpu "c" }', "1:8", "says no 'compiler'"),
    ('target x { llvm triple "s390x" }', "1:24", "there are no kernels for the triple 's390x'"),
    ('target x { llvm abi "x32" }', "1:21", "there are no kernels for the abi 'x32'"),
    ('target x { emulate "qemu" board "mps9" }', "1:33", "no board 'mps9'"),
    ("target x { storage = weights }", "1:12", "did not expect 'storage'"),
    ("target x { \x00 }", "1:12", "did not expect"),
]

OK = "storage = weights * weight_bits energy = 1 pJ "

ENERGY_MISTAKES = [
    ("energy e { }", "1:8", "no equation for 'storage'"),
    ("energy e { storage = weights * weight_bits }", "1:8", "no equation for 'energy'"),
    ("energy e { storage = 1 pJ energy = 1 pJ }", "1:12", "'storage' must be bit, and is pJ"),
    (
        "energy e { storage = weights * weight_bits energy = 3 }",
        "1:44",
        "'energy' must be pJ, and is a plain number",
    ),
    ("energy e { storage(x) = x energy = 1 pJ }", "1:8", "no equation for 'storage'"),
    ("energy e {\n x = 1 pJ + 1 bit\n" + OK + "}", "2:11", "'+' meets pJ and bit"),
    ("energy e {\n x = 1 pJ - 1\n" + OK + "}", "2:11", "'-' meets pJ and a plain number"),
    ("energy e {\n x = 1 if 1 pJ < 1 bit else 2\n" + OK + "}", "2:16", "'<' meets pJ and bit"),
    ("energy e {\n x = 1 if 1 pJ else 2\n" + OK + "}", "2:11", "'if' meets pJ"),
    ("energy e {\n x = 1 pJ if spiking else 2\n" + OK + "}", "2:6", "'else' meets pJ"),
    ("energy e {\n x = max(1 pJ, 1 bit)\n" + OK + "}", "2:6", "'max' meets bit and pJ"),
    ("energy e {\n x = log2(1 bit)\n" + OK + "}", "2:6", "'log2' meets bit"),
    ("energy e {\n x = not 1\n" + OK + "}", "2:10", "did not expect '1'"),
    ("energy e {\n f(b bit) = b\n x = f(1 pJ)\n" + OK + "}", "3:8", "'b' of 'f' is bit"),
    ("energy e {\n f(b bit) = b\n x = f()\n" + OK + "}", "3:6", "'f' takes 1 arguments, not 0"),
    ("energy e {\n f(b bit) = b\n x = f\n" + OK + "}", "3:6", "'f' is a function"),
    ("energy e {\n a = 1\n x = a(1)\n" + OK + "}", "3:6", "'a' is not a function"),
    ("energy e {\n x = sin(1)\n" + OK + "}", "2:6", "no function 'sin'"),
    ("energy e {\n x = sqrt(1, 2)\n" + OK + "}", "2:6", "'sqrt' takes 1 arguments, not 2"),
    ("energy e {\n x = min()\n" + OK + "}", "2:6", "'min' takes 1 arguments, not 0"),
    ("energy e {\n x = synapse\n" + OK + "}", "2:6", "no quantity 'synapse'"),
    ("energy e {\n x = y\n y = x\n" + OK + "}", "2:2", "depends on itself: x -> y -> x"),
    ("energy e {\n f(n) = f(n)\n" + OK + "}", "2:2", "depends on itself: f -> f"),
    ("energy e {\n x = 1\n x = 2\n" + OK + "}", "3:2", "'x' is defined twice"),
    ("energy e {\n rate = 1\n" + OK + "}", "2:2", "'rate' is a quantity of the layer"),
    ("energy e {\n pJ = 1\n" + OK + "}", "2:2", "'pJ' is a unit"),
    ("energy e {\n min = 1\n" + OK + "}", "2:2", "'min' is a built-in function"),
    ("energy e {\n f(a, a) = a\n" + OK + "}", "2:7", "parameter 'a' is there twice"),
    ("energy e {\n f(rate) = 1\n" + OK + "}", "2:4", "'rate' is a quantity of the layer"),
    ("energy e {\n f(a foo) = 1\n" + OK + "}", "2:6", "did not expect 'foo'"),
    ("energy e {\n x = 1 kJ\n" + OK + "}", "2:8", "'kJ' is not a unit"),
    ("energy e {\n x = 2^10\n" + OK + "}", "2:8", "whole number from 0 to 9"),
    ("energy e {\n x = 2^1.5\n" + OK + "}", "2:8", "whole number from 0 to 9"),
    ("energy e {\n x = 1 +\n" + OK + "}", "3:9", "did not expect '='"),
    ("energy e {\n x = (1\n" + OK + "}", "3:1", "did not expect 'storage'"),
    ("energy e {\n x = 1 from\n" + OK + "}", "3:1", 'expected a text in "quotes"'),
    ("energy e {\n x == 1\n" + OK + "}", "2:5", "did not expect '='"),
    ("energy e extends f { }", "1:18", "no energy 'f' to extend"),
    ("energy e { vector 128 bit }", "1:19", "did not expect '128'"),
    ("energy e { x = 1 bit * }", "1:24", "did not expect '}'"),
    ("energy e {\n x = " + "(" * 2000 + "1" + ")" * 2000 + "\n" + OK + "}", "", ""),
    ("energy e {\n x = " + "-" * 5000 + "1\n" + OK + "}", "2:2", "nested too deeply"),
]


def check(load, text, where, message, tmp_path):
    path = tmp_path / "bad.hqt"
    path.write_text(text)
    if not message:
        load(str(path))
        return
    with pytest.raises(TargetFileError) as error:
        load(str(path))
    first, *_, pointer = error.value.message.split("\n")
    assert first.startswith(f"{path}:{where}:"), first
    assert message in first
    assert pointer.strip() == "^"


@pytest.mark.parametrize(("text", "where", "message"), TARGET_MISTAKES)
def test_mistakes_in_targets(text, where, message, tmp_path):
    check(load_target, text, where, message, tmp_path)


@pytest.mark.parametrize(("text", "where", "message"), ENERGY_MISTAKES)
def test_mistakes_in_energy_profiles(text, where, message, tmp_path):
    check(load_profile, text, where, message, tmp_path)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("target x { vectr 128 bit }", "did you mean 'vector'?"),
        ("target x { vector 128 Bit }", "did you mean 'bit'?"),
        ("target x extends arm-a7 { }", "did you mean 'arm-a78'?"),
    ],
)
def test_slips_of_the_pen_are_recognised(text, hint, tmp_path):
    (tmp_path / "bad.hqt").write_text(text)
    with pytest.raises(TargetFileError) as error:
        load_target(str(tmp_path / "bad.hqt"))
    assert error.value.hint == hint


def test_an_equation_without_a_value_points_at_itself(tmp_path):
    (tmp_path / "e.hqt").write_text(
        "energy e {\n storage = weights * weight_bits\n energy = 1 pJ / (rate - rate)\n}"
    )
    profile = load_profile(str(tmp_path / "e.hqt"))
    with pytest.raises(TargetFileError, match=r"e.hqt:3:11: this has no value here"):
        profile.evaluate({"weights": 1, "weight_bits": 1, "rate": 0.5})


WORDS = st.sampled_from(
    [*keywords(), *'{}(),=+-*/^<>#"', "x", "f", "1", "2.5", "pJ", "bit", '"text"', "\n", "rate"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=40).map(" ".join))
@example("energy e { x = 1 pJ pJ }")
def test_any_words_load_or_are_refused(tmp_path_factory, text):
    refuse_or_load(tmp_path_factory, text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_to_a_shipped_file_is_refused_or_harmless(tmp_path_factory, data):
    text = data.draw(st.sampled_from(sorted({b.source.text for b in shipped()})))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    refuse_or_load(tmp_path_factory, text[:start] + data.draw(st.text(max_size=8)) + text[end:])


def refuse_or_load(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.hqt"
    path.write_bytes(text.encode(errors="surrogatepass"))
    for load in (load_target, load_profile):
        with suppress(UserError):
            load(str(path))
    try:
        once = format_text(Source("fuzz", text))
    except UserError:
        return
    assert format_text(Source("fuzz", once)) == once
