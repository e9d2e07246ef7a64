"""Names of libraries: made from any text, and never in the way of C, of hqc.h or of each other."""

from __future__ import annotations

import re
import subprocess
from importlib import resources
from string import Template

import numpy as np
import onnx
import pytest

import hqc
from hqc.codegen.interface import render
from hqc.codegen.library import in_comment
from hqc.codegen.names import c_name, check_name
from hqc.codegen.toolchain import Toolchain
from hqc.errors import UserError
from hqc.frontend.load import load_model, model_name
from hqc.targets import load_target
from tests.conftest import ROOT

TEMPLATES = resources.files("hqc.runtimes.c")
STEMS = {
    "my model-v1.2": "my_model_v1_2",
    "3net": "m_3net",
    "int": "int_net",
    "hqc": "m_hqc",
    "hqc_error": "m_hqc_error",
    "réseau": "reseau",
    "double": "double_net",
    "namespace": "namespace_net",
    "uint32": "uint32_net",
    "size": "size_net",
    "string": "string_net",
    "m": "m_net",
    "foo_step": "foo_step_net",
    "Foo": "foo",
    "__a__b__": "a_b",
    "網": "model",
    "x" * 300: "x" * 54,
    "hqc_step": "m_hqc_step_net",
}


@pytest.mark.parametrize(("stem", "name"), STEMS.items())
def test_file_stems_become_names(stem, name):
    assert c_name(stem) == name
    check_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("3d", "is not a C identifier"),
        ("a-b", "is not a C identifier"),
        ("réseau", "is not a C identifier"),
        ("", "is not a C identifier"),
        ("../x", "is not a C identifier"),
        ("Foo", "is not in lower case"),
        ("a__b", "single underscores"),
        ("_x", "single underscores"),
        ("x" * 61, "is longer than 60"),
        *((n, "would give files, types or macros") for n in ("hqc", "hqc_net", "int", "uint32")),
        *((n, "would give files, types or macros") for n in ("size", "stdint", "c", "foo_stream")),
        *((n, "would give files, types or macros") for n in ("u_int8", "pthread_once", "mtx")),
    ],
)
def test_other_names_are_refused_with_one_that_will_do(name, why):
    with pytest.raises(UserError, match=re.escape(f"--name {name!r}")) as error:
        check_name(name)
    assert why in error.value.message
    check_name(error.value.hint.removeprefix("say e.g. --name "))


def identifiers(name):
    """What the templates define for a name: files, symbols, types and macros."""
    values = {"name": name, "NAME": name.upper()}
    found = set()
    for template in TEMPLATES.iterdir():
        if template.name.endswith(".in"):
            text = template.read_text()
            parts = re.findall(r"\w*\$\{(?:name|NAME)\}\w+|\w+\$\{(?:name|NAME)\}\w*", text)
            found |= {Template(part).substitute(values) for part in parts}
    return found | {f"{name}_kernel_0"} | {f"{name}{end}.o" for end in ("", "_kernels", "_weights")}


def test_no_two_names_have_an_identifier_in_common():
    words = re.findall(r"\w+", " ".join(identifiers("a")).lower())
    names = {"a", "b", *(f"a_{w}" for x in words for w in x.removeprefix("a_").split("_") if w)}
    names |= {f"a_{x.removeprefix('a_')}" for x in words}
    seen = {}
    for name in sorted(names):
        try:
            check_name(name)
        except UserError:
            continue
        for identifier in identifiers(name):
            assert seen.setdefault(identifier, name) == name, identifier
    assert len(set(seen.values())) > 10


C_HEADERS = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg
stdbool stddef stdint stdio stdlib string tgmath time wchar wctype fcntl pthread sched semaphore
sys/stat sys/types unistd
"""
TEXTS = """
int long double void float char bool class new template register size ssize time clock div fpos
wchar uint8 intptr int_fast16 sem mtx pthread regex jmp_buf file lock thread atomic complex exp i
"""


@pytest.mark.parametrize(("flags", "suffix"), [(["-std=c99"], "c"), (["-x", "c++"], "cc")])
def test_headers_of_all_names_go_with_each_other_and_with_the_systems(flags, suffix, tmp_path):
    parts = ("set_threads", "bytes", "image", "events")
    files = {part: f"{part.removeprefix('set_')}.h.in" for part in parts}
    templates = ["hqc.h.in", "model.h.in", *files.values()]
    said = "".join((TEMPLATES / t).read_text() for t in templates)
    numbers = dict.fromkeys(re.findall(r"\$\{([a-z_]+)\}", said), 1) | {"code": "uint8_t"}
    names = sorted({*STEMS.values(), *map(c_name, TEXTS.split())})
    for name in names:
        check_name(name)
        values = {**numbers, "name": name, "NAME": name.upper(), "class_names": "", "team": ""}
        values |= {part: render(file, values) for part, file in files.items()}
        (tmp_path / f"{name}.h").write_text(render("model.h.in", values))
    (tmp_path / "hqc.h").write_text(render("hqc.h.in", values))
    source = "#define _GNU_SOURCE\n" if suffix == "c" else ""
    source += "".join(
        f"#include <{h}.h>\n" for h in C_HEADERS.split() if suffix == "c" or h != "tgmath"
    )
    source += "".join(f'#include "{name}.h"\n' for name in names)
    source += "int main(void) { return 0; }\n"
    (tmp_path / f"main.{suffix}").write_text(source)
    command = [*Toolchain.of(load_target("host")).compiler, *flags, "-Wall", "-Werror", "-I."]
    command += ["-fsyntax-only", f"main.{suffix}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "text", ["a*/ int b; /*", "x // y\\", "??/\n", "é\u202e", "ends in *", "/", "plain/Conv"]
)
def test_comments_hold_any_text(text, tmp_path):
    (tmp_path / "x.c").write_text(f"int a; /* {in_comment(text)} */\nint b;\n")
    Toolchain.of(load_target("host")).compile("x.c", tmp_path)
    assert in_comment("blocks.0.fc/Conv+1:out") == "blocks.0.fc/Conv+1:out"


@pytest.fixture(scope="module")
def unnamed():
    """The small network without a name, whose nodes have names that C would stumble over."""
    text = (ROOT / "tests" / "passes" / "golden" / "00-dialect.txt").read_text()
    proto = onnx.parser.parse_model(text)
    proto.graph.name = "main_graph"
    for node in proto.graph.node:
        node.name = "*/ é /*"
    return proto


@pytest.mark.parametrize("stem", ["hqc", "my réseau-v1.2", "uint32"])
def test_models_of_any_file_name_compile_and_run(unnamed, stem, run_hqc, tmp_path, rng):
    path = tmp_path / f"{stem}.onnx"
    onnx.save(unnamed, path)
    done = run_hqc("compile", path, "-o", "build", "--bench")
    assert done.returncode == 0, done.stderr
    artifact = hqc.Artifact.open(tmp_path / "build")
    assert artifact.name == model_name(load_model(path), path)
    assert f"lib{artifact.name}.a for host" in done.stdout
    frames = rng.poisson(1.0, (2, 1, 1, 4, 4)).astype(np.float32)
    assert artifact.run(frames).shape == (1, 2)
