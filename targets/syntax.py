"""Text of target files to trees, and messages that point into the text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import lark

from hqc.errors import TargetFileError, UserError
from hqc.regular_files import read_file
from hqc.targets.costs import PARTS
from hqc.targets.units import UNITS

_MEANING = {
    "STRING": 'a text in "quotes"',
    "NUMBER": "a number",
    "UNIT": "a unit",
    "NAME": "a name",
    "ID": "a name",
    "LLVM_KEY": "triple, cpu, abi, features or float",
    "CACHE_LEVEL": "l1d, l1i, l2 or l3",
    "REPLACEMENT": "lru or random",
    "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": "','",
    "EQUAL": "=",
    "CIRCUMFLEX": "^",
    "PLUS_MINUS": "+",
    "MINUS": "-",
    "TIMES_OVER": "*",
    "$END": "the end of the file",
}
_LARGEST = 1 << 20
_SHOWN = 6
_UNIT = re.compile(r"[0-9][0-9.]*[ \t]*([A-Za-z_]\w*)\s*$")
"""A number and what stands in the place of its unit, at the end of what was read."""


@dataclass(frozen=True)
class Source:
    """A target file's text, for messages that point into it."""

    path: str
    text: str

    def error(
        self, message: str, line: int, column: int, hint: str | None = None
    ) -> TargetFileError:
        """A mistake at a line and column, counted from one, with an excerpt and a caret."""
        lines = self.text.split("\n")
        line = min(max(line, 1), len(lines))
        excerpt = lines[line - 1].replace("\t", " ")
        pointer = " " * (max(column, 1) - 1) + "^"
        return TargetFileError(
            f"{self.path}:{line}:{max(column, 1)}: {message}\n  {excerpt}\n  {pointer}", hint
        )

    def error_at(
        self, place: lark.Token | lark.Tree, message: str, hint: str | None = None
    ) -> TargetFileError:
        """A mistake at a token or tree."""
        at = place.meta if isinstance(place, lark.Tree) else place
        return self.error(message, at.line, at.column, hint)


def suggest(word: str, known: Iterable[str]) -> str | None:
    """A hint at the nearest known word, None without one."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]!r}?" if near and near[0] != word else None


@cache
def grammar() -> str:
    """The grammar's text."""
    return (resources.files("hqc.targets") / "hqt.lark").read_text()


@cache
def parser() -> lark.Lark:
    """The parser of target files."""
    return lark.Lark(grammar(), parser="lalr", propagate_positions=True)


@cache
def keywords() -> tuple[str, ...]:
    """Every word of the grammar."""
    return tuple(dict.fromkeys(re.findall(r'"([a-z0-9]{2,})"', grammar())))


def parse(source: Source) -> lark.Tree:
    """The tree of a target file. Raises `TargetFileError` with line, column and excerpt."""
    try:
        return parser().parse(source.text)
    except lark.exceptions.UnexpectedInput as error:
        raise _explain(source, error) from None


def _explain(source: Source, error: lark.exceptions.UnexpectedInput) -> TargetFileError:
    token = getattr(error, "token", None)
    wanted = _expected(error)
    if (token is not None and token.type == "$END") or isinstance(
        error, lark.exceptions.UnexpectedEOF
    ):
        lines = source.text.rstrip().split("\n")
        return source.error(f"the file ends too early{wanted}", len(lines), len(lines[-1]) + 1)
    line, column = error.line, error.column
    lines = source.text.split("\n")
    word = re.match(r"[A-Za-z_0-9-]+|.", lines[line - 1][column - 1 :] or " ").group()
    if word[0] == '"':
        return source.error('this text has no closing "', line, column)
    read = "\n".join([*lines[: line - 1], lines[line - 1][: column - 1]])
    wrong = _UNIT.search(f"{read}{word}" if word[0].isalpha() else read) or _UNIT.search(read)
    if wrong and wrong[1] not in (*keywords(), *UNITS, *PARTS):
        before = read[: wrong.start(1)]
        return source.error(
            f"{wrong[1]!r} is not a unit that fits here",
            before.count("\n") + 1,
            wrong.start(1) - before.rfind("\n"),
            suggest(wrong[1], UNITS) or f"units are: {', '.join(UNITS)}",
        )
    hint = suggest(word, keywords())
    return source.error(f"did not expect {word!r} here{wanted}", line, column, hint)


def _expected(error: lark.exceptions.UnexpectedInput) -> str:
    names = getattr(error, "accepts", None) or getattr(error, "expected", None)
    names = names or getattr(error, "allowed", None) or ()
    terminals = {t.name: t.pattern.value for t in parser().terminals if t.pattern.type == "str"}
    words = sorted({_MEANING.get(n) or terminals.get(n, n.lower()) for n in names})
    return f"; expected {' or '.join(words)}" if 0 < len(words) <= _SHOWN else ""


@dataclass(frozen=True)
class Block:
    """A target or an energy profile as it is written: `kind`, name, base, statements."""

    kind: str
    name: lark.Token
    base: lark.Token | None
    statements: list[lark.Tree]
    source: Source


def blocks(source: Source) -> list[Block]:
    """What a file defines. Raises `TargetFileError` for a name defined twice, or nothing at all."""
    tree = parse(source)
    if not tree.children:
        raise source.error("there is no target or energy profile in this file", 1, 1)
    found: dict[tuple[str, str], Block] = {}
    for child in tree.children:
        name, extends, *statements = child.children
        if (child.data, str(name)) in found:
            raise source.error_at(name, f"{child.data} {str(name)!r} is defined twice")
        base = extends.children[0] if extends is not None else None
        found[child.data, str(name)] = Block(child.data, name, base, statements, source)
    return list(found.values())


@cache
def shipped() -> tuple[Block, ...]:
    """Every block of the files that hqc ships."""
    files = sorted(resources.files("hqc.targets").iterdir(), key=lambda f: f.name)
    return tuple(
        block
        for file in files
        if file.name.endswith(".hqt")
        for block in blocks(Source(file.name, file.read_text()))
    )


def names(kind: str) -> list[str]:
    """The names of the shipped blocks of a kind."""
    return sorted(str(b.name) for b in shipped() if b.kind == kind)


def find(kind: str, name: str) -> list[Block]:
    """A block and those it extends, nearest first.

    `name` is that of a shipped block, or the path of a `.hqt` file, whose last block of the kind is
    meant. Raises `UserError` for an unknown name and `TargetFileError` for a mistake in a file.
    """
    known = {str(b.name): b for b in shipped() if b.kind == kind}
    if name.endswith(".hqt"):
        own = [b for b in blocks(read(name)) if b.kind == kind]
        if not own:
            raise UserError(f"{name} defines no {kind}")
        known |= {str(b.name): b for b in own}
        name = str(own[-1].name)
    if name not in known:
        near = suggest(name, known)
        raise UserError(
            f"there is no {_TITLES[kind]} {name!r}" + (f"; {near}" if near else ""),
            hint=f"{_TITLES[kind]}s are: {', '.join(sorted(known))}; or give a .hqt file by path",
        )
    lineage = [known[name]]
    while (base := lineage[-1].base) is not None:
        seen = [str(b.name) for b in lineage]
        if str(base) in seen:
            chain = " -> ".join([*seen, str(base)])
            raise lineage[-1].source.error_at(base, f"these extend each other: {chain}")
        if str(base) not in known:
            raise lineage[-1].source.error_at(
                base,
                f"there is no {kind} {str(base)!r} to extend",
                suggest(base, known) or f"there are {', '.join(sorted(known))}",
            )
        lineage.append(known[str(base)])
    return lineage


_TITLES = {"target": "target", "energy": "energy profile"}


def read(path: str) -> Source:
    """A target file. Raises `UserError` for one that cannot be read."""
    try:
        return Source(path, read_file(path, _LARGEST).decode())
    except UserError as error:
        message = error.message.replace("cannot read", "cannot read the target file", 1)
        raise UserError(message) from None
    except ValueError:
        raise UserError(f"cannot read the target file {path}: it is not text") from None


def unquote(text: lark.Token) -> str:
    """The content of a text in quotes."""
    return str(text)[1:-1]
