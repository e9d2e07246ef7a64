"""Products of vectors are products of matrices of one row or column."""

from __future__ import annotations

from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("MatMul")
def rows_and_columns(rewrite: Rewrite) -> None:
    """[K] @ [K, N] -> [1, K] @ [K, N]; [M, K] @ [K] -> [M, K] @ [K, 1]."""
    node = rewrite.node
    a, b = node.inputs
    made = list(node.outputs[0].shape.numpy())
    if 1 not in (len(a.shape), len(b.shape)):
        return
    if len(b.shape) == 1:
        b = rewrite.reshape(b, (b.shape.numpy()[0], 1), "column")
        made.append(1)
    if len(a.shape) == 1:
        a = rewrite.reshape(a, (1, a.shape.numpy()[0]), "row")
        made.insert(len(made) - 1, 1)
    product = rewrite.op("MatMul", [a, b], made)
    rewrite.finish(rewrite.reshape(product, node.outputs[0].shape.numpy(), "vector"))
