"""Target files: what they mean, and that every mistake points at itself."""

from __future__ import annotations

import pytest

import hqc
from hqc.errors import TargetFileError, UserError
from hqc.targets import load_target, target_names
from tests.conftest import MODEL

BOARD = """
# A board of one's own.
target myboard extends arm-a72 {
  about  "My board"
  cache  l2 512 KiB
}
"""


def test_shipped_targets_load_and_know_their_llvm():
    assert {"host", "arm-a72", "rv64gc"} <= set(target_names())
    for name in target_names():
        target = load_target(name)
        assert target.about
        assert target.tvm_target()["kind"] == "llvm"


def test_a_target_extends_another(tmp_path):
    (tmp_path / "myboard.hqt").write_text(BOARD)
    board, base = load_target(str(tmp_path / "myboard.hqt")), load_target("arm-a72")
    assert board.about == "My board"
    assert board.caches == {"l2": 512 * 1024}
    assert (board.llvm, board.compiler, board.emulate) == (base.llvm, base.compiler, base.emulate)


def test_a_users_file_compiles_without_any_python(tmp_path):
    (tmp_path / "myboard.hqt").write_text(BOARD)
    artifact = hqc.compile(MODEL, str(tmp_path / "myboard.hqt"), tmp_path / "build")
    assert artifact.manifest["target"] == "myboard"
    assert (artifact.folder / "libnmnist.a").exists()


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("target x extends armv8 { }", "1:18", "no target 'armv8' to extend"),
        ("target x {\n  vectr 12 bit\n}", "2:3", "did not expect 'vectr'"),
        ("target x {\n  vector 12 bits\n}", "2:16", "did not expect 's'"),
        ("target x {\n  cache l2 1 MB\n}", "2:14", "did not expect 'MB'"),
        ('target x {\n  about "open\n}', "2:9", "did not expect"),
        ("target X { }", "1:8", "did not expect 'X'"),
        ("target x {", "1:", "did not expect|ends inside"),
        ("", "1:1", "did not expect|ends inside"),
        (
            "target a extends b { }\ntarget b extends a { }",
            "1:18",
            "each other: b -> a -> b",
        ),
        ("target a { }\ntarget a { }", "2:8", "'a' is defined twice"),
        ('target a {\n about "b"\n about "c"\n}', "3:2", "about is said twice"),
        ('target a { about "b" }', "1:1", "says no 'llvm'"),
    ],
)
def test_mistakes_have_line_column_and_caret(text, where, message, tmp_path):
    path = tmp_path / "bad.hqt"
    path.write_text(text)
    with pytest.raises(TargetFileError, match=message) as error:
        load_target(str(path))
    lines = error.value.message.splitlines()
    assert lines[0].startswith(f"{path}:{where}")
    assert lines[-1].strip() == "^"


def test_a_slip_of_the_pen_is_recognised(tmp_path):
    (tmp_path / "bad.hqt").write_text("target x { vectr 128 bit }")
    with pytest.raises(TargetFileError) as error:
        load_target(str(tmp_path / "bad.hqt"))
    assert error.value.hint == "did you mean 'vector'?"


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UserError, match=r"no target 'rv64g'; did you mean 'rv64gc'?"):
        load_target("rv64g")


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "x.hqt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is not text"):
        load_target(str(tmp_path / "x.hqt"))
