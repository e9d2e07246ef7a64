"""Files and folders appear whole or not at all."""

from __future__ import annotations

import pytest

from hqc.atomic_files import replacing, replacing_folder
from hqc.errors import UserError


def test_a_file_is_replaced_at_the_end_or_kept(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_at_the_end_or_kept(tmp_path):
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with replacing_folder(path, "marker") as temporary:
            (temporary / "marker").write_text(content)
    with pytest.raises(ZeroDivisionError), replacing_folder(path, "marker") as temporary:
        (temporary / "marker").write_text(str(1 / 0))
    assert (path / "marker").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing_folder(tmp_path / "link", "marker") as temporary:
        (temporary / "marker").write_text("x")
    assert (tmp_path / "real" / "marker").exists()
    assert (tmp_path / "link").is_symlink()


def test_a_folder_of_someone_elses_is_refused(tmp_path):
    (tmp_path / "theirs").write_text("x")
    with pytest.raises(UserError, match="not made by hqc"), replacing_folder(tmp_path, "marker"):
        pytest.fail("must not get here")
