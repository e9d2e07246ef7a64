"""What hqc raises when something is wrong, and whose fault it is."""

from __future__ import annotations


def in_short(error: BaseException) -> str:
    """An exception of another package as part of a message: its kind and its first line."""
    first = next(iter(str(error).strip().splitlines()), "no message")
    return f"{type(error).__name__}: {first}"


class UserError(Exception):
    """The input cannot be used as it is: exit code 2 on the command line.

    `message` says what is wrong and where; `hint` says what to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UnsupportedModelError(UserError):
    """The model is sound, but hqc has no lowering for a part of it; `message` names the node."""


class TargetFileError(UserError):
    """A target file has a mistake; `message` holds file, line, column and an excerpt."""


class NotRunnableError(UserError):
    """onnxruntime does not run a model."""


class ToolError(UserError):
    """A tool that hqc calls (C compiler, emulator) is missing or failed."""


class OwnError(Exception):
    """Something failed that should have worked or been refused, which is hqc's fault.

    `message` says what and where; `hint` says how to report it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class VerificationError(Exception):
    """Two things that must be equal differ: a pass or a kernel is wrong, which is hqc's fault."""
