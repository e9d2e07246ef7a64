"""From `.hqt` text to a `Target`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path

import lark

from hqc.errors import TargetFileError, UserError

_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2}


@dataclass(frozen=True)
class Target:
    """A machine to compile for.

    `llvm` holds triple, cpu, abi, features and float (ABI); `compiler` the triple for the C
    compiler; `vector_bits` is 0 without vectors; `popcount_ops` what a vector popcount of 32-bit
    lanes takes; `emulate` the command that runs its programs here, None where none is needed.
    """

    name: str
    about: str = ""
    llvm: dict[str, str] = field(default_factory=dict)
    compiler: str = ""
    vector_bits: int = 0
    popcount_ops: int = 12
    caches: dict[str, int] = field(default_factory=dict)
    emulate: str | None = None

    @property
    def is_host(self) -> bool:
        """Whether it is the machine that hqc runs on."""
        return self.compiler == "host"

    def tvm_target(self) -> dict[str, object]:
        """The target as TVM takes it."""
        llvm = dict(self.llvm)
        if llvm["triple"] == "host":
            from tvm.target import codegen

            llvm |= {
                "triple": codegen.llvm_get_system_triple(),
                "cpu": codegen.llvm_get_system_cpu(),
            }
        target: dict[str, object] = {
            "kind": "llvm",
            "mtriple": llvm["triple"],
            "mcpu": llvm["cpu"],
        }
        if "abi" in llvm:
            target["mabi"] = llvm["abi"]
        if "features" in llvm:
            target["mattr"] = llvm["features"].split(",")
        if "float" in llvm:
            target["mfloat-abi"] = llvm["float"]
        return target


@dataclass(frozen=True)
class _Source:
    """A target file's text, for messages that point into it."""

    path: str
    text: str

    def error(self, message: str, line: int, column: int, hint: str | None = None) -> Exception:
        lines = self.text.splitlines() or [""]
        excerpt = lines[min(line, len(lines)) - 1]
        pointer = " " * (column - 1) + "^"
        return TargetFileError(
            f"{self.path}:{line}:{column}: {message}\n  {excerpt}\n  {pointer}", hint
        )


class _Fields(lark.Transformer):
    """Statements of one target to fields of `Target`."""

    about = staticmethod(lambda c: ("about", c[0][1:-1]))
    compiler = staticmethod(lambda c: ("compiler", c[0][1:-1]))
    emulate = staticmethod(lambda c: ("emulate", c[0][1:-1]))
    vector = staticmethod(lambda c: ("vector_bits", int(c[0])))
    popcount = staticmethod(lambda c: ("popcount_ops", int(c[0])))
    llvm_setting = staticmethod(lambda c: (str(c[0]), c[1][1:-1]))
    llvm = staticmethod(lambda c: ("llvm", dict(c)))
    cache = staticmethod(lambda c: (str(c[0]), int(c[1]) * _BYTES[c[2]]))
    caches = staticmethod(lambda c: ("caches", dict(c)))


@cache
def _parser() -> lark.Lark:
    grammar = (resources.files("hqc.targets") / "target.lark").read_text()
    return lark.Lark(grammar, parser="lalr", propagate_positions=True)


_WORDS = (
    "target",
    "extends",
    "about",
    "llvm",
    "compiler",
    "vector",
    "popcount",
    "cache",
    "emulate",
)


def _parse(source: _Source) -> dict[str, tuple[lark.Tree, _Source]]:
    """The targets of a file by name. Raises `TargetFileError` with line, column and excerpt."""
    try:
        tree = _parser().parse(source.text)
    except lark.exceptions.UnexpectedEOF:
        lines = source.text.splitlines() or [""]
        raise source.error(
            "the file ends inside a target", len(lines), len(lines[-1]) + 1
        ) from None
    except lark.exceptions.UnexpectedInput as error:
        line, column = max(error.line, 1), max(error.column, 1)
        rest = (source.text.splitlines() or [""])[min(line, source.text.count("\n") + 1) - 1]
        word = rest[column - 1 :].split()[0] if rest[column - 1 :].split() else "end of file"
        near = difflib.get_close_matches(word, _WORDS, 1)
        hint = f"did you mean {near[0]!r}?" if near and near[0] != word else None
        raise source.error(f"did not expect {word!r} here", line, column, hint) from None
    found: dict[str, tuple[lark.Tree, _Source]] = {}
    for target in tree.children:
        name = target.children[0]
        if name in found:
            raise source.error(f"target {str(name)!r} is defined twice", name.line, name.column)
        found[str(name)] = target, source
    return found


def _shipped() -> dict[str, tuple[lark.Tree, _Source]]:
    found: dict[str, tuple[lark.Tree, _Source]] = {}
    for entry in sorted(resources.files("hqc.targets").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".hqt"):
            found |= _parse(_Source(entry.name, entry.read_text()))
    return found


def target_names() -> list[str]:
    """The names of the targets that hqc ships."""
    return sorted(_shipped())


def load_target(name: str) -> Target:
    """A shipped target by name, or the last one of a user's `.hqt` file by path.

    Raises `UserError` for an unknown name, suggesting the nearest, and `TargetFileError` for a
    mistake in a file.
    """
    known = _shipped()
    if name.endswith(".hqt"):
        try:
            source = _Source(name, Path(name).read_text())
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UserError(f"cannot read the target file {name}: {reason}") from None
        own = _parse(source)
        known |= own
        name = list(own)[-1]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise UserError(
            f"there is no target {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            hint=f"targets are: {', '.join(sorted(known))}; or give a .hqt file by path",
        )
    target = _resolve(name, known, ())
    _, source = known[name]
    for wanted, value in (("llvm", target.llvm), ("compiler", target.compiler)):
        if not value or (wanted == "llvm" and not {"triple", "cpu"} <= set(value)):
            raise source.error(f"target {name!r} says no {wanted!r} (triple and cpu)", 1, 1)
    return target


def _resolve(
    name: str, known: dict[str, tuple[lark.Tree, _Source]], seen: tuple[str, ...]
) -> Target:
    tree, source = known[name]
    own, base, *statements = tree.children
    target = Target(name)
    if base is not None:
        if base in (*seen, name):
            raise source.error(
                f"targets extend each other: {' -> '.join((*seen, name, base))}",
                base.line,
                base.column,
            )
        if base not in known:
            near = difflib.get_close_matches(base, known, 1)
            raise source.error(
                f"there is no target {str(base)!r} to extend",
                base.line,
                base.column,
                f"did you mean {near[0]!r}?" if near else f"targets are: {', '.join(known)}",
            )
        target = replace(_resolve(str(base), known, (*seen, name)), name=name)
    fields: dict[str, object] = {}
    for statement in statements:
        key, value = _Fields().transform(statement)
        if key in fields:
            raise source.error(
                f"{statement.data!s} is said twice in target {str(own)!r}",
                statement.meta.line,
                statement.meta.column,
            )
        fields[key] = value
    return replace(target, **fields)
