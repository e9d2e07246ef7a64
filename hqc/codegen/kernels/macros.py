"""How a TIR function and a macro find what they are used in.

TVM's own search describes every caller's frame with the text of its source, for each function and
each use of a macro: most of the time that kernels take to build.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from types import FrameType

from tvm.script.parser.core.parser import Parser, ScriptMacro
from tvm.tirx.script.parser import entry


def _parser_of_callers(_macro: ScriptMacro) -> Parser:
    frame = sys._getframe(1)
    while frame is not None:
        parser = frame.f_globals.get(ScriptMacro.parser_object_name)
        if parser is not None:
            return parser
        frame = frame.f_back
    raise RuntimeError("a TIR macro was called outside a kernel's body")


@dataclass(frozen=True)
class _Caller:
    """What a function's decorator needs to know of a caller: its variables, and that its source,
    a class's for all that TVM knows, is none of a module of TVM's."""

    frame: FrameType
    code_context: None = None


class _Inspect:
    """Python's `inspect`, but for the text of every caller's source."""

    def __getattr__(self, name: str) -> object:
        return getattr(inspect, name)

    @staticmethod
    def stack() -> list[_Caller]:
        """Those that called, from the innermost on."""
        callers = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            callers.append(_Caller(frame))
            frame = frame.f_back
        return callers


ScriptMacro._find_parser_def = _parser_of_callers
entry.inspect = _Inspect()
