"""Arrays as the frames that a model takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hqc.errors import UserError


def as_frames(given: object, shape: Sequence[int], *others: Sequence[int]) -> np.ndarray:
    """Numbers of that shape as contiguous float32. Raises `UserError` for anything else.

    `others` are shapes of as many numbers that do as well.
    """
    try:
        frames = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"frames are not an array: {error}") from None
    if frames.shape not in (tuple(shape), *map(tuple, others)):
        raise UserError(
            f"frames {list(frames.shape)} of {frames.dtype} are not {list(shape)} numbers",
            hint="frames are [T, 1, C, H, W]: time steps, one recording, channels, height, width",
        )
    if frames.dtype.kind not in "fiub":
        raise UserError(f"frames of {frames.dtype} are not real numbers")
    with np.errstate(over="ignore"):
        frames = np.ascontiguousarray(frames, np.float32)
    if not np.isfinite(frames).all():
        raise UserError("frames are not finite: some are NaN, infinite, or too large for float32")
    return frames.reshape(shape)


def fitted(frames: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A recording's array as a view of that shape, where it lacks or adds axes of size 1.

    One frame is repeated over time. What does not fit comes back as it is.
    """
    sizes, wanted, one = ([n for n in s if n != 1] for s in (frames.shape, shape, shape[1:]))
    if sizes == wanted:
        return frames.reshape(shape)
    return np.broadcast_to(frames.reshape(shape[1:]), shape) if sizes == one else frames
