"""What a form of package is: whom it serves, and how it is written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from os import PathLike
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from hqc.atomic_files import replacing_folder
from hqc.errors import UserError
from hqc.named import named
from hqc.version import VERSION

if TYPE_CHECKING:
    from hqc.artifact import Artifact

MARKER = "hqc-package.json"
"""The file that marks a folder as a package of hqc's, which the next one may replace."""


@dataclass(frozen=True)
class Contents:
    """A package that is being written: of an artifact, from the templates of a folder."""

    artifact: Artifact
    templates: str
    folder: Path

    @property
    def name(self) -> str:
        """The model's name."""
        return self.artifact.name

    @cached_property
    def values(self) -> dict[str, object]:
        """What templates say of the model."""
        manifest, name = self.artifact.manifest, self.name
        memory, frames, logits = manifest["memory"], manifest["input"], manifest["output"]
        larger = "ARENA" if memory["arena_bytes"] > memory["stream_arena_bytes"] else "STREAM_ARENA"
        return {
            "name": name,
            "NAME": name.upper(),
            "version": VERSION,
            "target": manifest["target"],
            "about": f"{name}: a spiking network compiled by hqc for {manifest['target']}",
            "arena": f"{name.upper()}_{larger}_BYTES",
            "arena_bytes": max(memory["arena_bytes"], memory["stream_arena_bytes"]),
            "shape": frames["shape"],
            "output_shape": logits["shape"],
            "logit_scale": logits["integer_scale"],
        }

    def put_headers(self, folder: str) -> None:
        """Copy all headers, of C and C++."""
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        for stem in (self.name, "hqc"):
            for suffix in (".h", ".hpp"):
                file = f"{stem}{suffix}"
                shutil.copyfile(self.artifact.folder / file, self.folder / folder / file)

    def put_archive(self, folder: str) -> None:
        """Copy the archive."""
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        library = f"lib{self.name}.a"
        shutil.copyfile(self.artifact.folder / library, self.folder / folder / library)

    def render(self, template: str, **values: object) -> str:
        """A template of the form's with the model's values, and others."""
        text = (resources.files(f"hqc.runtimes.{self.templates}") / template).read_text()
        return Template(text).substitute(self.values, **values)

    def write(self, template: str, file: str, **values: object) -> None:
        """Write a rendered template."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.render(template, **values))

    def statuses(self) -> list[tuple[str, str]]:
        """The status codes from 1 on, as the header has them: names and texts."""
        header = (self.artifact.folder / "hqc.h").read_text()
        found = re.findall(r'case HQC_(\w+): return "(.*)";', header)
        return [(name, text) for name, text in found if name != "OK"]


Refusal = Callable[["Artifact"], "str | None"]
"""Why a form does not serve an artifact; None where it does."""


@dataclass(frozen=True)
class Form:
    """One way into another project. `about` ends the sentence "NAME is ..."."""

    name: str
    about: str
    refuse: Refusal
    templates: str
    write: Callable[[Contents], None]


def has_threads(artifact: Artifact) -> str | None:
    """Why a form whose calls have one thread does not serve an artifact; None where it does."""
    threads = artifact.manifest["threads"]
    if threads == 1:
        return None
    return f"it has one thread, and the library is for {threads}: compile it without --threads"


_FORMS: dict[str, Form] = {}


def form(name: str, about: str, refuse: Refusal, templates: str) -> Callable:
    """Register the decorated function, which writes a package's `Contents`, as a form."""

    def register(write: Callable[[Contents], None]) -> Callable[[Contents], None]:
        _FORMS[name] = Form(name, about, refuse, templates, write)
        return write

    return register


def forms() -> list[Form]:
    """All forms, by name."""
    return sorted(_FORMS.values(), key=lambda form: form.name)


def find_form(name: str) -> Form:
    """The form of that name. Raises `UserError`, suggesting the nearest."""
    return named("form", name, _FORMS, "forms")


def package(artifact: Artifact, name: str, output: str | PathLike[str]) -> list[str]:
    """Write an artifact's package of a form into a folder, which appears whole or not at all.

    Returns the files in it. Raises `UserError` where the form does not serve the artifact.
    """
    chosen = find_form(name)
    why = chosen.refuse(artifact)
    if why:
        raise UserError(f"--as {name}: {why}", hint="hqc package --help says whom a form serves")
    with replacing_folder(output, MARKER) as folder:
        chosen.write(Contents(artifact, chosen.templates, folder))
        said = {"hqc": VERSION, "model": artifact.name, "form": name}
        (folder / MARKER).write_text(json.dumps(said) + "\n")
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
