"""Images as frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hqc.errors import UserError

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
_RESIZED = 256 / 224
"""The shorter side of an image over that of its crop, as usual in evaluation on ImageNet."""


def image_to_frames(path: Path, time_steps: int, height: int, width: int) -> np.ndarray:
    """An image as frames uint8 [T, 3, height, width]: every time step shows the same pixels.

    One of another size is scaled, and its middle is taken. Raises `UserError`.
    """
    try:
        image = Image.open(path).convert("RGB")
    except (OSError, UnidentifiedImageError):
        raise UserError(f"cannot read {path}: it is no image") from None
    if image.size != (width, height):
        scale = _RESIZED * max(height / image.height, width / image.width)
        size = (max(round(image.width * scale), width), max(round(image.height * scale), height))
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image).transpose(2, 0, 1)
    return np.repeat(pixels[None], time_steps, axis=0)
