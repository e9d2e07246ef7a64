"""Kinds of layers, whose sensitivity QSViT looks at together."""

from __future__ import annotations

from collections.abc import Sequence

from hqc.energy.groups import attention_part


def kind_of(
    name: str, *, linear: bool, groups: int = 1, window: Sequence[int] = (), repconv: bool = False
) -> str:
    """The paper's kinds: sdsa (W_q, W_k, W_v), repconv, dwconv, pwconv, conv, linear.

    `repconv` says that the layer is a part of a RepConv.
    """
    if attention_part(name) in ("q", "k", "v"):
        return "sdsa"
    if repconv:
        return "repconv"
    if linear:
        return "linear"
    if groups > 1:
        return "dwconv"
    return "pwconv" if set(window) == {1} else "conv"
