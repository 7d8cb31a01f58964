"""The decoder of all picture formats: upright RGB with 8 bits a channel."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from weft.data.guard import parsing, unreadable
from weft.data.remarks import remark

if TYPE_CHECKING:
    from PIL import Image

_MOST_PIXELS = 2**26
_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
_SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N")
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
_EXPECTED = "a picture"
_ORIENTATION = 0x0112


class Decoder:
    """Decodes pictures, with white behind transparent pixels, and counts its conversions.

    Attributes:
        done: conversion, in words -> number of pictures.
    """

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    def __call__(self, source: Path | bytes, where: str | Path = "") -> Image.Image:
        """A picture in mode RGB: the first frame, upright, alpha composited, scaled to bytes.

        Args:
            source: a file, or its content.
            where: its name in errors; by default the file.

        Raises:
            DataError: if it is not a picture, is damaged, or has more than 2^26 pixels.
        """
        from PIL import Image, ImageOps

        where = where or (source if isinstance(source, Path) else "a picture")
        opened = io.BytesIO(source) if isinstance(source, bytes) else source
        # Not among them: containers, and formats that other programs render (EPS, WMF).
        Image.init()
        formats = [name for name in _FORMATS if name in Image.OPEN]
        with parsing(where, _EXPECTED), Image.open(opened, formats=formats) as image:
            width, height = image.size
            if width * height > _MOST_PIXELS:
                raise unreadable(
                    where, f"at most {_MOST_PIXELS:,} pixels", f"{width:,} x {height:,}"
                )
            if getattr(image, "is_animated", False):
                self.done["the first frame of an animation"] += 1
                image.seek(0)
            image.load()
            turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
            self.done["turned as their EXIF tag says"] += turned
            upright = ImageOps.exif_transpose(image) if turned else image
            return self._colours(upright, where)

    def remarks(self, what: str) -> list[str]:
        """A sentence for each kind of conversion; `what` names the pictures."""
        return [
            f"pictures of {what}: {count:,} {deed}" for deed, count in self.done.items() if count
        ]

    def _colours(self, image: Image.Image, where: str | Path) -> Image.Image:
        """`image` in mode RGB."""
        from PIL import Image

        if image.mode in (*_SIXTEEN, "I", "F"):
            deed, values = _as_bytes(np.asarray(image), where)
            self.done[deed] += 1
            return Image.fromarray(values).convert("RGB")
        if image.mode in _WITH_ALPHA or "transparency" in image.info:
            whole = image.convert("RGBA")
            if whole.getchannel("A").getextrema() != (255, 255):
                self.done["composited on white: they had transparency"] += 1
            behind = Image.new("RGBA", whole.size, "white")
            return Image.alpha_composite(behind, whole).convert("RGB")
        if image.mode not in ("1", "L", "P", "RGB"):
            self.done[f"converted from {image.mode} to RGB"] += 1
        return image.convert("RGB")


@contextmanager
def decoding(what: str) -> Iterator[Decoder]:
    """A decoder for the pictures of `what`, whose conversions are remarked on at the end."""
    decoder = Decoder()
    yield decoder
    for text in decoder.remarks(what):
        remark(text)


def _as_bytes(values: NDArray[np.generic], where: str | Path) -> tuple[str, NDArray[np.uint8]]:
    """Samples of more than 8 bits scaled to 8, and the conversion in words."""
    wide = values.astype(np.float64)
    low, high = wide.min(), wide.max()
    if not (np.isfinite(wide).all() and low >= 0 and high <= 65535):
        raise unreadable(where, "samples from 0 to 65,535", f"samples from {low} to {high}")
    if not np.issubdtype(values.dtype, np.floating):
        most, deed = 65535.0, "scaled from 16 bits to 8"
    elif high <= 1:
        most, deed = 1.0, "scaled from floats of 0 to 1 to 8 bits"
    else:
        most = 255.0 if high <= 255 else 65535.0
        deed = f"scaled from floats of 0 to {most:.0f} to 8 bits"
    return deed, (wide * (255 / most)).round().astype(np.uint8)
