"""The library in a C program by cc alone, by CMake's find_package and by pkg-config."""

from __future__ import annotations

import shutil

import pytest

from hqc.version import VERSION
from tests.packaging.ways import EXAMPLE, RECORDING, done

MAJOR, MINOR = VERSION.split(".")[:2]


@pytest.fixture
def moved(host_artifact, tmp_path):
    """An artifact that was copied elsewhere, into a path with a space, as a stranger has it."""
    return shutil.copytree(host_artifact.folder, tmp_path / "third party" / "model")


@pytest.fixture
def source(tmp_path):
    return shutil.copy(EXAMPLE / "main.c", tmp_path)


def test_cc_alone_builds_with_the_archive(moved, source, tmp_path):
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    done("cc", *strict, source, f"-I{moved}", f"-L{moved}", "-lnmnist", "-o", "main", cwd=tmp_path)
    assert done(tmp_path / "main", RECORDING, cwd=tmp_path) == "3\n"


def test_pkg_config_tells_version_and_flags_of_a_copy(host_artifact, source, tmp_path):
    moved = shutil.copytree(host_artifact.folder, tmp_path / "model")
    environment = {"PKG_CONFIG_PATH": str(moved), "PATH": "/usr/bin:/bin"}
    version = done("pkg-config", "--modversion", "nmnist", cwd=tmp_path, env=environment)
    assert version == f"{VERSION}\n"
    asked = f"nmnist >= {MAJOR}.{MINOR}"
    flags = done("pkg-config", "--cflags", "--libs", asked, cwd=tmp_path, env=environment)
    done("cc", source, *flags.split(), "-o", "main", cwd=tmp_path)
    assert done(tmp_path / "main", RECORDING, cwd=tmp_path) == "3\n"


def configure(folder, asked, prefix):
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13...3.25)\nproject(stranger C)\n"
        f"find_package(nmnist {asked} CONFIG)\n"
        'message(STATUS "found=${nmnist_FOUND} version=${nmnist_VERSION}")\n'
        "if(nmnist_FOUND)\n  add_executable(main main.c)\n"
        "  target_link_libraries(main PRIVATE hqc::nmnist)\nendif()\n"
    )
    command = ["cmake", "-S", folder, "-B", folder / "out", f"-DCMAKE_PREFIX_PATH={prefix}"]
    return done(*command, cwd=folder)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (f"{MAJOR}.{MINOR}", True),
        (f"{MAJOR}", True),
        (f"{VERSION} EXACT", True),
        (f"{MAJOR}.{MINOR}...<{MAJOR}.{int(MINOR) + 1}", True),
        (f"{MAJOR}.{MINOR}.999", False),
        (f"{MAJOR}.{int(MINOR) + 1}", False),
        (f"{int(MAJOR) + 1}", False),
        (f"{MAJOR}.{MINOR}.999 EXACT", False),
        (f"{int(MAJOR) + 1}...{int(MAJOR) + 2}", False),
        (f"0.0.1...<{VERSION}", False),
    ],
)
def test_cmake_finds_the_versions_that_fit(moved, source, tmp_path, asked, found):
    said = configure(tmp_path, asked, moved)
    assert ("found=1" in said) == found, said
    if found:
        assert f"version={VERSION}" in said


def test_cmake_builds_with_the_imported_target_of_a_copy(moved, source, tmp_path):
    configure(tmp_path, f"{MAJOR}.{MINOR} REQUIRED", moved)
    done("cmake", "--build", tmp_path / "out", cwd=tmp_path)
    assert done(tmp_path / "out" / "main", RECORDING, cwd=tmp_path) == "3\n"
