"""Einsum of two tensors is a product of matrices, of one a sum."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Einsum")
def einsum(rewrite: Rewrite) -> None:
    """Einsum without diagonals -> sums, permutations, and for two operands a MatMul."""
    node = rewrite.node
    equation = node.attributes["equation"].value.replace(" ", "")
    if "->" not in equation or "." in equation:
        return
    given, made = equation.split("->")
    names = given.split(",")
    if len(names) > 2 or any(len(set(n)) < len(n) for n in names):
        return
    sizes = {
        letter: size
        for letters, x in zip(names, node.inputs, strict=True)
        for letter, size in zip(letters, x.shape.numpy(), strict=True)
    }
    if any(x.shape.numpy() != tuple(sizes[n] for n in ns) for ns, x in _operands(node, names)):
        return  # an axis of size 1 is repeated
    kept = set(made)
    whole = [
        _summed(rewrite, x, letters, kept | set("".join(names[:i] + names[i + 1 :])), str(i))
        for i, (letters, x) in enumerate(_operands(node, names))
    ]
    if len(whole) == 1:
        letters, x = whole[0]
    else:
        letters, x = _product(rewrite, *whole, kept, sizes)
    rewrite.finish(_in_order(rewrite, letters, x, made, ""))


def _operands(node: ir.Node, names: list[str]) -> list[tuple[str, ir.Value]]:
    return list(zip(names, node.inputs, strict=True))


def _summed(
    rewrite: Rewrite, x: ir.Value, letters: str, kept: set[str], what: str
) -> tuple[str, ir.Value]:
    """x without the axes that nothing else has."""
    gone = [i for i, letter in enumerate(letters) if letter not in kept]
    if not gone:
        return letters, x
    axes = rewrite.constant(np.array(gone, np.int64), f"axes{what}")
    left = [n for i, n in enumerate(x.shape.numpy()) if i not in gone]
    x = rewrite.op("ReduceSum", [x, axes], left, what=f"sum {what}", keepdims=0)
    return "".join(letter for letter in letters if letter in kept), x


def _product(
    rewrite: Rewrite,
    a: tuple[str, ir.Value],
    b: tuple[str, ir.Value],
    kept: set[str],
    sizes: dict[str, int],
) -> tuple[str, ir.Value]:
    """The product of both: axes that both have and keep, those of a alone, those of b alone."""
    if constant(a[1]) is not None:
        a, b = b, a  # weights are second factors
    batch = [n for n in a[0] if n in b[0] and n in kept]
    inner = [n for n in a[0] if n in b[0] and n not in kept]
    rows, columns = ([n for n in x[0] if n not in y[0]] for x, y in ((a, b), (b, a)))

    def merged(x: tuple[str, ir.Value], groups: list[list[str]], what: str) -> ir.Value:
        order = "".join(n for group in groups for n in group)
        turned = _in_order(rewrite, *x, order, f"{what} turned")
        shape = [math.prod(sizes[n] for n in group) for group in groups]
        return rewrite.reshape(turned, shape, f"{what} matrix")

    alone = [[n] for n in batch]
    # Rows stay apart where the other factor is one matrix: their axes need not be merged.
    before = [[n] for n in rows] if not batch and rows else [*alone, rows]
    left = merged(a, [*before, inner], "left")
    right = merged(b, [*alone, inner, columns], "right")
    shape = [*left.shape.numpy()[:-1], right.shape.numpy()[-1]]
    made = rewrite.op("MatMul", [left, right], shape, what="product")
    letters = "".join([*batch, *rows, *columns])
    return letters, rewrite.reshape(made, [sizes[n] for n in letters], "axes")


def _in_order(rewrite: Rewrite, letters: str, x: ir.Value, wanted: str, what: str) -> ir.Value:
    perm = [letters.index(n) for n in wanted]
    shape = [x.shape.numpy()[i] for i in perm]
    array = constant(x)
    if array is not None:
        return rewrite.constant(array.transpose(perm), what or "numbers")
    return rewrite.op("Transpose", [x], shape, what=what, perm=perm)
