"""How a TIR macro finds the parser that it adds to.

TVM's own search describes every caller's frame with the text of its source, for each use of a
macro: half of the time that a model takes to compile.
"""

from __future__ import annotations

import sys

from tvm.script.parser.core.parser import Parser, ScriptMacro


def _parser_of_callers(_macro: ScriptMacro) -> Parser:
    frame = sys._getframe(1)
    while frame is not None:
        parser = frame.f_globals.get(ScriptMacro.parser_object_name)
        if parser is not None:
            return parser
        frame = frame.f_back
    raise RuntimeError("a TIR macro was called outside a kernel's body")


ScriptMacro._find_parser_def = _parser_of_callers
