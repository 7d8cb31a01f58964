"""Grey background pictures: an image set as one tensor of bytes."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from weft.data.images import load_images
from weft.errors import DataError

# ITU-R 601-2 luma in units of 2^-16, as Pillow computes it.
_LUMA = (19595, 38470, 7471)
_CHUNK = 1024


def grey(images: Tensor, size: int) -> Tensor:
    """The luminance of the top left corner of images, exactly as in Pillow's mode L.

    Args:
        images: uint8 (N, 1 or 3, H, W), grey or red, green, blue.
        size: S <= min(H, W).
    Returns: uint8 (N, S, S), round(.299 R + .587 G + .114 B).
    """
    corner = images[..., :size, :size]
    if images.shape[1] == 1:
        return corner.squeeze(1).contiguous()
    result = corner.new_empty(len(images), size, size)
    for part, out in zip(corner.split(_CHUNK), result.split(_CHUNK), strict=True):
        red, green, blue = part.int().unbind(1)
        luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
        out.copy_((luma + (1 << 15)) >> 16)
    return result


@lru_cache(maxsize=4)
def load_backgrounds(
    split: str,
    *,
    name: str = "cifar10",
    size: int = 28,
    root: str | None = None,
    download: bool = True,
) -> Tensor:
    """The grey pictures of a split, uint8 (N, S, S); cached, so that all sources share one tensor.

    Args:
        split: "train" or "test".
        name: an image set of `weft.data.catalog.images`, or the path of an npz file.
        size: S, pixels along a side.
        root, download: where to look and whether to fetch, as in `weft.data.images.load_images`.
    Raises:
        DataError: if the pictures are missing, or smaller than S.
    """
    images = load_images(name, split, root=root, download=download).images
    if min(images.shape[-2:]) < size:
        raise DataError(
            f"the pictures of `{name}` have {images.shape[-2]} x {images.shape[-1]} pixels",
            expected=f"at least {size} x {size}, to lie behind the dots",
        )
    return grey(images, size)
