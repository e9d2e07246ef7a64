"""Pipelines: their text form, and running them with dumps and verification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import lark
import onnx_ir as ir

from hqc.atomic_files import replacing
from hqc.dialect import attach_functions
from hqc.dialect.integer_ops import verify_node
from hqc.dialect.intervals import RangeError
from hqc.dialect.invariants import InvariantError
from hqc.errors import NotRunnableError, UserError, VerificationError
from hqc.passes.failure import failure
from hqc.passes.graph import where
from hqc.passes.pass_base import Pass, find_pass

DEFAULT = (
    "fold-constants,hoist-neurons,sink-classifier,fold-padding,canonicalize,make-integer,"
    "fuse-attention,pack-spikes,choose-kernels,plan-memory"
)
"""The passes that lead from a dialect model to a model of kernels with their memory."""


class _Steps(lark.Transformer):
    integer = staticmethod(lambda children: int(children[0]))
    decimal = staticmethod(lambda children: float(children[0]))
    word = staticmethod(lambda children: str(children[0]))
    option = staticmethod(lambda children: (str(children[0]), children[1]))
    step = staticmethod(lambda children: find_pass(str(children[0]), dict(children[1:])))
    pipeline = staticmethod(list)


@cache
def _reader() -> lark.Lark:
    grammar = (resources.files("hqc.passes") / "pipeline.lark").read_text()
    return lark.Lark(grammar, start="pipeline", parser="lalr")


def parse_pipeline(text: str) -> list[Pass]:
    """The passes of e.g. `"fold-batch-norm,make-integer{mode=exact}"`. Raises `UserError`."""
    try:
        return _Steps().transform(_reader().parse(text))
    except lark.exceptions.VisitError as error:
        raise error.orig_exc from None
    except lark.exceptions.UnexpectedInput as error:
        column = error.column if error.column and error.column > 0 else len(text) + 1
        raise UserError(
            f"--passes: cannot read this at column {column}\n  {text}\n  {' ' * (column - 1)}^",
            hint='write e.g. "fold-batch-norm,make-integer{mode=exact},pack-spikes"',
        ) from None


Observer = Callable[[Pass, ir.Model], None]
"""Called with each pass and the model that came out of it."""


class PassDumper:
    """Writes the model after the pass named `which`, or after "all", into a folder."""

    def __init__(self, which: str, steps: Sequence[Pass], folder: Path) -> None:
        if which != "all" and which not in [s.name for s in steps]:
            raise UserError(
                f"--dump-after: the pipeline has no pass {which!r}",
                hint=f"it has: {', '.join(s.name for s in steps)}; or say all",
            )
        self._which, self._folder, self._number = which, folder, 0

    def __call__(self, step: Pass, model: ir.Model) -> None:
        """Write, if it is this pass's turn."""
        self._number += 1
        if self._which in ("all", step.name):
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._folder / f"{self._number:02}-{step.name}.onnx") as file:
                ir.save(model, file)


def run_passes(
    model: ir.Model, steps: Sequence[Pass], observers: Sequence[Observer] = ()
) -> ir.Model:
    """Run the passes in order; after each, every op checks its node, then observers are called.

    Raises `OwnError`, naming pass and node, for whatever a pass stumbles over.
    """
    given = ir.serde.serialize_model(model)
    for step in steps:
        try:
            model = attach_functions(step.run(model))
            verify_ops(step, model)
            for observe in observers:
                observe(step, model)
        except NotRunnableError as error:
            raise failure(step, error, steps, given) from error
        except (UserError, VerificationError, OSError, MemoryError):
            raise
        except Exception as error:
            raise failure(step, error, steps, given) from error
    return model


def verify_ops(step: Pass, model: ir.Model) -> None:
    """Raise `VerificationError` where a pass left a node that its own op says is wrong."""
    for node in model.graph:
        try:
            verify_node(node)
        except (InvariantError, RangeError) as error:
            raise VerificationError(
                f"pass {step.name!r} made {where(node)}: {error}\n"
                "  to see the model: hqc compile MODEL --dump-after all"
            ) from None
