"""The `hqc` command itself: options that every verb shares, errors, exit codes."""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from hqc.errors import OwnError, UserError, VerificationError
from hqc.extras import INSTALLED_BY
from hqc.version import VERSION

USER_ERROR, OWN_ERROR = 2, 1

_THEIR_ERRNOS = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.EFBIG: "free some space, or write elsewhere",
    errno.EACCES: "check the permissions",
    errno.EROFS: "write elsewhere",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: part of it is a file",
    errno.EEXIST: "check the path: part of it is a file",
    errno.EISDIR: "check the path: it is a folder",
    errno.ENAMETOOLONG: "choose a shorter path",
}


class Output:
    """What a verb says: results on stdout, as text or JSON; progress on stderr, on a terminal."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        self._live = sys.stderr.isatty() and not quiet
        self._start = time.monotonic()

    def progress(self, text: str) -> None:
        """Show what is being done, in place of what was."""
        if self._live:
            elapsed = time.monotonic() - self._start
            sys.stderr.write(f"\r\x1b[K[{elapsed:5.1f} s] {text}")
            sys.stderr.flush()

    def done(self) -> None:
        """Remove the progress line."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def result(self, data: object, text: str) -> None:
        """Print the result: `data` with --json, else `text`, unless --quiet."""
        self.done()
        if self.as_json:
            click.echo(json.dumps(data, indent=2))
        elif not self.quiet and text:
            click.echo(text)


def output_options(command: Callable) -> Callable:
    """Add --quiet and --json to a verb, which gets an `Output` as its argument `out`."""

    @functools.wraps(command)
    def wrapped(*args: object, quiet: bool, as_json: bool, **kwargs: object) -> object:
        return command(*args, out=Output(quiet=quiet, as_json=as_json), **kwargs)

    quietly = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    return quietly(as_json(wrapped))


def complete_targets(_context: object, _parameter: object, incomplete: str) -> list[str]:
    """Names of targets, for shells that complete."""
    from hqc.targets import target_names

    return [name for name in target_names() if name.startswith(incomplete)]


target_option = click.option(
    "--target",
    default="host",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_targets,
    help="Target to compile for, or a .hqt file.",
)


model_file_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("model.onnx"),
    show_default=True,
    help="File to write.",
)


optimize_option = click.option(
    "--optimize",
    type=click.Choice(["size", "speed"]),
    help="Make the library small, or fast (default: what the target says, else speed).",
)


def parse_bindings(_context: object, _parameter: object, values: tuple[str, ...]) -> dict[str, int]:
    """NAME=SIZE options as a dict."""
    bind = {}
    for value in values:
        name, equals, size = value.partition("=")
        if not (name and equals and size.isdigit() and int(size) > 0):
            raise click.BadParameter(f"{value!r} is not NAME=SIZE, e.g. batch=1")
        bind[name] = int(size)
    return bind


bind_option = click.option(
    "--bind",
    multiple=True,
    metavar="NAME=SIZE",
    callback=parse_bindings,
    help="Size of a symbolic dimension.",
)


def _numbers(_context: object, _parameter: object, text: str | None) -> list[float] | None:
    """Numbers with commas between them."""
    try:
        return None if text is None else [float(x) for x in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is not e.g. 0.491,0.482,0.447") from None


def preprocessing_options(command: Callable) -> Callable:
    """Add --preprocessing, --mean and --std, a `Preprocessing` or None as `preprocessing`."""

    @functools.wraps(command)
    def wrapped(
        *args: object,
        preprocessing: str | None,
        mean: list[float] | None,
        std: list[float] | None,
        **kwargs: object,
    ) -> object:
        from hqc.data.recordings import Preprocessing

        if preprocessing is None and (mean or std):
            raise UserError("--mean and --std are of images", hint="say --preprocessing image")
        shown = preprocessing and Preprocessing(preprocessing, mean, std)
        return command(*args, preprocessing=shown, **kwargs)

    shown = click.option(
        "--preprocessing",
        type=click.Choice(["events", "image"]),
        help="What files the network is shown, which the model then takes.",
    )
    by = click.option(
        "--mean",
        callback=_numbers,
        metavar="R,G,B",
        help="Mean of each color that images are normalized by, of pixels from 0 to 1.",
    )
    over = click.option(
        "--std", callback=_numbers, metavar="R,G,B", help="Their standard deviation."
    )
    return shown(by(over(wrapped)))


def _picture(_context: object, _parameter: object, path: Path | None) -> Path | None:
    """A file that can be drawn to."""
    if path is not None and path.suffix not in (".svg", ".png"):
        raise UserError(f"--plot {path}: pictures are .svg or .png")
    return path


def plot_option(what: str) -> Callable[[Callable], Callable]:
    """Add --plot to a verb, which draws `what`."""
    return click.option(
        "--plot",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=_picture,
        help=f"Draw {what}: SVG, PNG.",
    )


cc_option = click.option(
    "--cc",
    metavar="COMMAND",
    help="C compiler for the target (default: zig cc; on the host $CC or cc).",
)

threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that share the recordings (default: one for each core).",
)


inference_threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Threads that share each inference.",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 something differs or hqc is at fault, 2 the input is at fault.",
)
@click.version_option(VERSION, prog_name="hqc")
def cli() -> None:
    """Compile quantized spiking vision transformers to small C libraries.

    \b
    Examples:
      hqc compile model.onnx --target arm-a72 -o build/
      hqc verify model.onnx --target rv64gc
      hqc run build-host/ recording.bin
    """


def _fail(code: int, message: str, hint: str | None = None) -> NoReturn:
    lead = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{lead}hqc: error: {message}", err=True)
    if hint:
        click.echo(f"hqc: hint: {hint}", err=True)
    sys.exit(code)


def main() -> None:
    """Run the command line; turn every failure into one message and an exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail(USER_ERROR, "interrupted; no output was written", "run the command again")
    except UserError as error:
        _fail(USER_ERROR, error.message, error.hint)
    except OwnError as error:
        _traceback(error)
        _fail(OWN_ERROR, error.message, error.hint)
    except VerificationError as error:
        _fail(OWN_ERROR, str(error), "this is a fault of hqc; please report it with the model")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(USER_ERROR)
    except OSError as error:
        if error.errno in _THEIR_ERRNOS:
            where = f"{error.filename}: " if error.filename else ""
            _fail(USER_ERROR, f"{where}{error.strerror}", _THEIR_ERRNOS[error.errno])
        _unexpected(error)
    except MemoryError:
        _fail(USER_ERROR, "out of memory", "give it more, or a smaller model")
    except ModuleNotFoundError as error:
        if error.name not in INSTALLED_BY:
            _unexpected(error)
        _fail(USER_ERROR, f"this needs {error.name}", INSTALLED_BY[error.name])
    except Exception as error:  # the last resort: a message, not a traceback
        _unexpected(error)


def _traceback(error: Exception) -> None:
    if os.environ.get("HQC_TRACEBACK"):
        traceback.print_exception(error)


def _unexpected(error: Exception) -> NoReturn:
    _traceback(error)
    _fail(
        OWN_ERROR,
        f"{type(error).__name__}: {str(error).strip() or 'no message'}",
        "this is a fault of hqc: please report it with the output of hqc doctor and of the same "
        "command under HQC_TRACEBACK=1",
    )
