"""Images as frames."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from hqc.errors import UserError
from hqc.regular_files import file_size

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
_FORMATS = ("JPEG", "PNG")
_MOST_PIXELS = 64_000_000
_RESIZED = 256 / 224
"""The shorter side of an image over that of its crop, as usual in evaluation on ImageNet."""


def image_to_frames(path: Path, time_steps: int, height: int, width: int) -> np.ndarray:
    """An image as frames uint8 [T, 3, height, width]: every time step shows the same pixels.

    One of another size is scaled, and its middle is taken. Raises `UserError` for a file that is no
    image, is cut short, or unpacks to too many pixels.
    """
    file_size(path)
    image = _read(path)
    if image.size != (width, height):
        scale = _RESIZED * max(height / image.height, width / image.width)
        size = (max(round(image.width * scale), width), max(round(image.height * scale), height))
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image).transpose(2, 0, 1)
    return np.repeat(pixels[None], time_steps, axis=0)


def _read(path: Path) -> Image.Image:
    """The image in colors; its size is looked at before it is unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise Image.DecompressionBombError
                return image.convert("RGB")
    except Image.DecompressionBombError:
        raise UserError(
            f"{path} has more than {_MOST_PIXELS:,} pixels", hint="scale it down"
        ) from None
    except Exception:  # its readers raise whatever they stumble over
        raise UserError(f"cannot read {path}: it is no whole JPEG or PNG image") from None
