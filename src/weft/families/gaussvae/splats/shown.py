"""Renders splats from files, without the source pictures."""

# N splats

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.atomic import atomic_writer
from weft.errors import UsageError
from weft.families.gaussvae.splats.files import SIZES, read_file, read_sizes
from weft.families.gaussvae.splats.geometry import to_logcov
from weft.families.gaussvae.splats.packed import read_packed
from weft.families.gaussvae.splats.rasterise import render
from weft.plots.images import enlarged


@dataclass(frozen=True)
class Drawable:
    """Splats with the settings of their rendering.

    Attributes:
        name: of the picture.
        splats: (N, 8) in `layout`, with the given `sampling`.
        size: (height, width) of the picture whose pixels are the unit of covariances.
        topk: number of the largest weights of a pixel that count; 0: all.
    """

    name: str
    splats: NDArray[np.float32]
    size: tuple[int, int]
    layout: str
    sampling: str
    blend: str = "normalised"
    topk: int = 0


def drawables(place: Path, size: tuple[int, int] | None, topk: int = 0) -> Iterator[Drawable]:
    """The splats of a packed folder, of a .pt or .npz file, or of a folder of such files.

    Args:
        place: the folder or file.
        size: of the pictures behind .pt and .npz files, which do not contain it; by default that of
            the file sizes.json beside them.
        topk: for .pt and .npz files.
    Raises:
        UsageError: if there are none, or their size is unknown.
        DataError: if a file is damaged, or of another kind.
    """
    if (place / "splats.json").is_file():
        packed = read_packed(place)
        kept: Any = packed.settings.get("topk", 0)
        for name, splats, each in zip(packed.names, packed.splats, packed.sizes, strict=True):
            yield Drawable(
                name, splats, each, packed.layout, packed.sampling, packed.blend, int(kept)
            )
        return
    found = [place] if place.is_file() else sorted([*place.glob("*.pt"), *place.glob("*.npz")])
    if not found:
        raise UsageError(
            "there are no splats",
            where=str(place),
            expected="a folder that `weft data fit` wrote, or .pt or .npz files",
        )
    sizes = read_sizes(found[0].parent)
    for path in found:
        known = size or sizes.get(path.stem)
        if known is None:
            raise UsageError(
                f"{path.name} does not say how large its picture was, nor does {SIZES}",
                expected="HEIGHTxWIDTH, such as 512x768",
            )
        yield Drawable(path.stem, read_file(path), known, "rs", "corner", topk=topk)


def picture(one: Drawable, height: int | None = None) -> Tensor:
    """The picture (3, H, W) in [0, 1].

    Args:
        one: the splats.
        height: in pixels; the width follows in proportion. None: that of the splats.
    """
    high, wide = one.size
    tall = height or high
    splats = torch.from_numpy(one.splats.copy())[None]
    if one.layout == "rs":
        splats = to_logcov(splats)
    if one.sampling == "corner":
        # In a picture of another size corners of pixels are at other positions; centres are not.
        splats[..., :2] += torch.tensor([0.5 / wide, 0.5 / high])
    shown = render(
        splats,
        tall,
        max(1, round(tall * wide / high)),
        blend=one.blend,
        topk=one.topk,
        size=one.size,
    )
    return shown[0].clamp(0, 1)


def save(folder: Path, one: Drawable, height: int | None = None) -> None:
    """Writes the picture as a PNG with its name."""
    pixels = picture(one, height).permute(1, 2, 0)
    with atomic_writer(folder / f"{one.name}.png") as file:
        enlarged(pixels, 1).save(file, "PNG")
