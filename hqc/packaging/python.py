"""A wheel: a module of ctypes and numpy around a shared library, for boards without hqc."""

from __future__ import annotations

import base64
import hashlib
import keyword
import sys
import sysconfig
import zipfile
from pathlib import Path

from hqc.artifact import Artifact
from hqc.codegen.toolchain import Toolchain
from hqc.packaging.form import Contents, form, has_threads
from hqc.targets import Target
from hqc.version import VERSION

_MACHINES = {"aarch64": "aarch64", "armv7": "armv7l", "riscv64": "riscv64"}
"""How wheels call the machines of triples."""

_BASELINES = {
    ("aarch64", "generic", "+neon"): "manylinux_2_17_aarch64.manylinux2014_aarch64",
    ("riscv64", "generic-rv64", "+m,+a,+f,+d,+c"): "manylinux_2_31_riscv64",
}
"""Code for what every such machine has may go to any Linux; other code only where it was meant to.

The library asks for no version of a C library: any has memcpy and memset.
"""

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def _tag(target: Target) -> str | None:
    """The platform of a wheel's name; None where Python does not run."""
    if target.is_host:
        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
    architecture = target.llvm["triple"].split("-")[0]
    if architecture not in _MACHINES or "linux" not in target.compiler[0]:
        return None
    cpu, features = target.llvm["cpu"], target.llvm.get("features", "")
    portable = _BASELINES.get((architecture, cpu, features))
    return portable or f"linux_{_MACHINES[architecture]}"


def _refuse(artifact: Artifact) -> str | None:
    if not _tag(artifact.target):
        return f"{artifact.target.name} has no Linux that Python runs on"
    name = artifact.name
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "numpy":
        return f"a module cannot be called {name!r} in Python: compile with another --name"
    return has_threads(artifact)


@form(
    "python",
    "a wheel, for this machine and for Linux on 64-bit and 32-bit ARM and RISC-V",
    _refuse,
    "wheel",
)
def write_wheel(contents: Contents) -> None:
    """Write NAME-VERSION-py3-none-PLATFORM.whl. Raises `ToolError` where it cannot be linked."""
    name, tag = contents.name, _tag(contents.artifact.target)
    info = f"{name}-{VERSION}.dist-info"
    said = contents.artifact.manifest["input"]
    parts = {
        "codes": contents.render("codes.py.in", **said["codes"]) if said["codes"] else "",
        "image": contents.render("image.py.in") if said["image"] else "",
        "events": contents.render("events.py.in") if said["events"] else "",
    }
    classes = (contents.artifact.manifest["preprocessing"] or {}).get("classes")
    texts = [text for _, text in contents.statuses()]
    tags = "\n".join(f"Tag: py3-none-{one}" for one in tag.split("."))
    files = {
        f"{name}/__init__.py": contents.render(
            "module.py.in", texts=texts, class_names=classes, **parts
        ).encode(),
        f"{name}/{name}.so": _library(contents),
        f"{info}/METADATA": contents.render("METADATA.in").encode(),
        f"{info}/WHEEL": contents.render("WHEEL.in", tags=tags).encode(),
    }
    record = [
        f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items()
    ]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    wheel = contents.folder / f"{name}-{VERSION}-py3-none-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _ZIP_EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def _digest(content: bytes) -> str:
    digest = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _library(contents: Contents) -> bytes:
    """The shared library, which no other is needed by: Python's process has a C library."""
    artifact, shared = contents.artifact, f"{contents.name}.so"
    if artifact.target.is_host:
        return artifact.file(".so").read_bytes()
    contents.put_archive(".")
    archive = Path(f"lib{contents.name}.a")
    whole = ["-nostdlib", "-Wl,--whole-archive", str(archive), "-Wl,--no-whole-archive"]
    Toolchain.of(artifact.target).share(whole, shared, contents.folder)
    library = (contents.folder / shared).read_bytes()
    for made in (shared, archive):
        (contents.folder / made).unlink()
    return library
