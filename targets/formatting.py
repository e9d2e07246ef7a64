"""Target files in their usual layout, and blocks with everything that they inherit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, zip_longest

import lark

from hqc.targets.syntax import Source, blocks, find, grammar

_TIGHT_BEFORE = {"COMMA", "RPAR", "CIRCUMFLEX"}
_TIGHT_AFTER = {"LPAR", "MINUS", "CIRCUMFLEX"}
_INDENT = "  "


@dataclass
class _Entry:
    """What stands on lines of its own: a statement, as columns that align, or a comment."""

    columns: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    comment: str = ""
    first: int = 0
    last: int = 0

    def lines(self, widths: Sequence[int]) -> list[str]:
        padded = [
            c.ljust(w)
            for c, w in zip_longest(self.columns, widths[: len(self.columns)], fillvalue=0)
        ]
        lines = [" ".join(padded).rstrip(), *(_INDENT * 2 + line for line in self.more)]
        if self.comment:
            lines[-1] = f"{lines[-1]}  {self.comment}" if lines[-1] else self.comment
        return lines


def format_text(source: Source) -> str:
    """The file in its usual layout; its meaning and its comments stay.

    Statements are indented by two spaces and align in paragraphs; lines that a statement was broken
    into stay. Raises `TargetFileError` for a file that cannot be read.
    """
    blocks(source)
    tree, comments = _whole_tree(source)
    lines: list[str] = []
    end = 0
    for block in tree.children:
        outside = [c for c in comments if end < c.line < block.meta.line]
        for entry in _with_gaps([_comment(c) for c in outside]):
            lines += entry.lines([]) if entry else [""]
        if lines and not outside:
            lines.append("")
        inside = [c for c in comments if block.meta.line <= c.line <= block.meta.end_line]
        lines += _block(block, inside)
        end = block.meta.end_line
    for comment in comments:
        if comment.line > end:
            lines.append(str(comment))
    return "\n".join(lines) + "\n"


def _whole_tree(source: Source) -> tuple[lark.Tree, list[lark.Token]]:
    """The tree with every token, keywords and punctuation too, and the comments."""
    parser, comments = _parser()
    comments.clear()
    return parser.parse(source.text), comments.copy()


@cache
def _parser() -> tuple[lark.Lark, list[lark.Token]]:
    """What reads whole trees, which takes long to make, and the comments of what it read last."""
    comments: list[lark.Token] = []
    parser = lark.Lark(
        grammar(),
        parser="lalr",
        propagate_positions=True,
        keep_all_tokens=True,
        lexer_callbacks={"COMMENT": comments.append},
    )
    return parser, comments


def _comment(token: lark.Token) -> _Entry:
    return _Entry(comment=str(token), first=token.line, last=token.line)


def _block(block: lark.Tree, comments: list[lark.Token]) -> list[str]:
    parts = [c for c in block.children if c is not None]
    opening = next(i for i, part in enumerate(parts) if getattr(part, "type", "") == "LBRACE")
    head = [t for part in parts[:opening] for t in _tokens(part)]
    entries = [_entry(statement) for statement in parts[opening + 1 : -1]]
    ends = {entry.last: entry for entry in entries}
    for comment in comments:
        if comment.line in ends:
            ends[comment.line].comment = str(comment)
        else:
            entries.append(_comment(comment))
    entries.sort(key=lambda e: e.first)
    lines = [f"{_text(head)} {{"]
    for is_gap, paragraph in groupby(_with_gaps(entries), key=lambda e: e is None):
        lines += [""] if is_gap else _paragraph(list(paragraph))
    return [*lines, "}"]


def _paragraph(entries: list[_Entry]) -> list[str]:
    """Entries without a blank line between them; statements on one line align."""
    widths = [
        max(len(e.columns[i]) for e in entries if len(e.columns) > i + 1)
        for i in range(max(len(e.columns) for e in entries) - 1)
    ]
    return [_INDENT + line for entry in entries for line in entry.lines(widths)]


def _with_gaps(entries: list[_Entry]) -> list[_Entry | None]:
    """The entries, with None where blank lines stood between two."""
    spaced: list[_Entry | None] = []
    for before, entry in zip([None, *entries], entries, strict=False):
        if before is not None and entry.first > before.last + 1:
            spaced.append(None)
        spaced.append(entry)
    return spaced


def _entry(statement: lark.Tree) -> _Entry:
    lines = [list(line) for _, line in groupby(_tokens(statement), key=lambda t: t.line)]
    return _Entry(
        [_text(column) for column in _columns(lines[0], statement.data == "equation")],
        [_text(line) for line in lines[1:]],
        first=statement.meta.line,
        last=statement.meta.end_line,
    )


def _columns(tokens: list[lark.Token], is_equation: bool) -> list[list[lark.Token]]:
    if not is_equation:
        return [tokens[:1], tokens[1:]]
    cuts = [i for i, t in enumerate(tokens) if t.type in ("EQUAL", "FROM")]
    return [tokens[a:b] for a, b in zip([0, *cuts], [*cuts, len(tokens)], strict=True)]


def _tokens(part: lark.Tree | lark.Token) -> list[lark.Token]:
    if isinstance(part, lark.Token):
        return [part]
    return list(part.scan_values(lambda v: isinstance(v, lark.Token)))


def _text(tokens: Sequence[lark.Token]) -> str:
    text = ""
    before: lark.Token | None = None
    for token in tokens:
        calls = token.type == "LPAR" and before is not None and before.type == "ID"
        tight = before is None or before.type in _TIGHT_AFTER or token.type in _TIGHT_BEFORE
        text += str(token) if tight or calls else f" {token}"
        before = token
    return text


def show(kind: str, name: str) -> str:
    """A target or energy profile with all that it inherits, each line with where it is from.

    The text is a block of a target file itself.
    """
    lineage = find(kind, name)
    found: dict[str, tuple[lark.Token, list[str]]] = {}
    for block in reversed(lineage):
        tree, _ = _whole_tree(block.source)
        own = next(t for t in tree.children if t.data == kind and t.children[1] == block.name)
        start = next(i for i, c in enumerate(own.children) if getattr(c, "type", "") == "LBRACE")
        said: dict[str, list[str]] = {}
        for statement in own.children[start + 1 : -1]:
            is_equation = statement.data == "equation"
            key = f"={statement.children[0]}" if is_equation else str(statement.data)
            said.setdefault(key, []).append(_text(_tokens(statement)))
        found |= {key: (block.name, texts) for key, texts in said.items()}
    lines = [f"{kind} {lineage[0].name} {{"]
    for origin, texts in found.values():
        note = "" if origin == lineage[0].name else f"  # from {origin}"
        lines += [f"{text}{note}" for text in texts]
    return format_text(Source(name, "\n".join([*lines, "}"])))
