"""The guides name commands, options, places, targets, forms and files that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import zipfile

import click
import pytest

from hqc.bench.on import find_place
from hqc.cli import cli
from hqc.errors import UserError
from hqc.packaging import find_form, package
from hqc.targets import load_target
from tests.conftest import NMNIST, ROOT

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
EXAMPLES = [ROOT / "examples" / name / "README.md" for name in ("dvs_stream", "rp2040")]
PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in (*GUIDES, *EXAMPLES)}
NAMED = {"on": find_place, "target": load_target, "form": find_form}


def commands_in(text):
    """Every command line of hqc's: lines of blocks, and whole code spans."""
    blocks = "".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    spans = re.findall(r"`(hqc [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.removeprefix("$ ") for line in blocks.splitlines()] + spans
    return [shlex.split(line, comments=True) for line in lines if line.startswith("hqc ")]


COMMANDS = {shlex.join(c): c for text in PAGES.values() for c in commands_in(text)}


def parsed(command):
    """The values of a command line's parameters. Raises `click.UsageError`."""
    _, verb, *arguments = command
    found = cli.commands.get(verb) or pytest.fail(f"there is no hqc {verb}")
    context = click.Context(found, info_name=verb)
    values, rest, _ = found.make_parser(context).parse_args(list(arguments))
    assert not rest
    return values


def test_there_are_commands_in_every_guide():
    assert {name for name, text in PAGES.items() if commands_in(text)} == set(PAGES) - {
        "docs/guides/README.md"
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one_of_hqcs(line):
    values = parsed(COMMANDS[line])
    for option, find in NAMED.items():
        if values.get(option) is not None:
            find(values[option])
    for given in values.values():
        for file in given if isinstance(given, (list, tuple)) else [given]:
            if isinstance(file, str) and file.startswith("examples/"):
                assert (ROOT / file).exists(), file


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("hqc bench model.onnx --onto host", click.NoSuchOption),
        ("hqc compile model.onnx --target", click.BadOptionUsage),
    ],
)
def test_what_is_no_option_is_found(line, error):
    with pytest.raises(error):
        parsed(shlex.split(line))


def test_what_is_no_place_is_found():
    with pytest.raises(UserError):
        find_place(parsed(shlex.split("hqc bench model.onnx --on nowhere"))["on"])


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", PAGES[page]):
        to = (ROOT / page).parent / link if link else ROOT / page
        assert to.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)", to.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


OTHERS = {
    "Could not resolve hostname", "Permission denied", "Host key verification failed",
    "No route", "timed out", "Illegal instruction", "file in wrong format",
    "skipping incompatible", "externally-managed-environment",
    "is not a supported wheel on this platform", "TinyUSB submodule has not been initialized",
    'Could not find a package configuration file provided by "nmnist"',
    "include could not find requested file: /external/pico_sdk_import.cmake",
    "region 'RAM' overflowed", "Permission denied: '/dev/ttyACM0'", "RPI-RP2", "/dev/ttyACM0",
}  # fmt: skip
"""What other programs say: ssh, shells, linkers, CMake, the Pico SDK, pip and Python."""


def what_we_say():
    """The sources of hqc, of the library and of the examples, with the parts of texts joined."""
    files = [
        *(ROOT / "hqc").rglob("*.py"),
        *(ROOT / "hqc").rglob("*.html.in"),
        *(ROOT / "runtimes" / "c").glob("*.in"),
        *(file for e in EXAMPLES for file in e.parent.iterdir() if file.suffix in (".c", ".py")),
    ]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text() for file in files))


def test_every_failure_in_a_table_is_one_that_is_said():
    sources, rows = what_we_say(), 0
    for page, text in PAGES.items():
        for table in re.findall(r"^\| it says \|.*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE):
            for row in table.splitlines():
                rows += 1
                for span in re.findall(r"`([^`]+)`", row.split("|")[1]):
                    parts = span.removeprefix("error: ").split("...")
                    known = all(part.strip(" :") in sources for part in parts)
                    assert known or span in OTHERS, f"{page}: {span}"
    assert rows > 40


def test_the_wheels_program_classifies(host_artifact, tmp_path):
    [program] = re.findall(r"```python\n(.*?)```", PAGES["docs/guides/raspberry-pi.md"], re.DOTALL)
    (tmp_path / "classify.py").write_text(program)
    recording = NMNIST / "sample" / "3" / "60031.bin"
    (tmp_path / recording.name).write_bytes(recording.read_bytes())
    files = package(host_artifact, "python", tmp_path / "wheels")
    [wheel] = (tmp_path / "wheels" / file for file in files if file.endswith(".whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "classify.py"], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout == "3\n"


def test_the_stream_of_the_guide_is_what_the_example_prints(host_artifact, tmp_path):
    source = ["-S", ROOT / "examples" / "dvs_stream", "-B", tmp_path]
    found = f"-DCMAKE_PREFIX_PATH={host_artifact.folder}"
    subprocess.run(["cmake", *source, found], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path], check=True, capture_output=True)
    recording = "examples/nmnist/sample/7/60001.bin"
    done = subprocess.run(
        [tmp_path / "dvs_stream", recording],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert f"```\n{done.stdout}```" in PAGES["docs/guides/dvs-camera.md"]
