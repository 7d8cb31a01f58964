"""Writes the results of fits: splats in one of three formats, a table, and pictures."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weft.atomic import atomic_writer, write_text
from weft.data.albums import Picture
from weft.data.content import read_text
from weft.data.guard import parsing
from weft.families.gaussvae.splats.files import SplatFile, write_npz, write_pt, write_sizes
from weft.families.gaussvae.splats.fit import How
from weft.families.gaussvae.splats.geometry import to_rs
from weft.families.gaussvae.splats.imagegs import ImageGS
from weft.families.gaussvae.splats.packed import Packed, write_packed
from weft.families.gaussvae.splats.rasterise import render
from weft.families.gaussvae.splats.result import Result
from weft.plots.images import enlarged

FORMS = ("packed", "npz", "pt")
TABLE = "table.csv"

_KINDS: dict[str, type] = {
    "name": str, "height": int, "width": int, "splats": int, "psnr": float, "ssim": float,
    "seconds": float,
}  # fmt: skip
"""The columns of the table, and what they hold."""

_SHOWN_SIDE = 256
"""Smaller pictures are enlarged to about this side."""


def rows_of(pictures: Sequence[Picture], results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row of the table for each picture."""
    return [
        {
            "name": picture.name,
            "height": picture.size[0],
            "width": picture.size[1],
            "splats": len(result.splats),
            "psnr": result.psnr,
            "ssim": result.ssim,
            "seconds": result.seconds,
        }
        for picture, result in zip(pictures, results, strict=True)
    ]


def write_table(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes the rows as table.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / TABLE, text.getvalue())


def read_table(folder: Path, pictures: Sequence[Picture]) -> list[dict[str, Any]] | None:
    """The rows of table.csv; None if there is no such file.

    Raises:
        DataError: if it is not a table as `write_table` writes it, of all `pictures`.
    """
    path = folder / TABLE
    if not path.exists():
        return None
    form = f"the rows {', '.join(_KINDS)} of {len(pictures):,} pictures, as the fit wrote them"
    with parsing(path, form):
        read = csv.DictReader(io.StringIO(read_text(path, form), newline=""), strict=True)
        rows = [{key: kind(row[key]) for key, kind in _KINDS.items()} for row in read]
        if [row["name"] for row in rows] != [picture.name for picture in pictures]:
            raise ValueError(f"{len(rows):,} rows, of {', '.join(row['name'] for row in rows)}")
    return rows


def mean_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over the rows of the numeric columns."""
    names = ("splats", "psnr", "ssim", "seconds")
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def clear(folder: Path) -> None:
    """Removes the files that mark a finished or running fit; other files will be overwritten."""
    shutil.rmtree(folder / "parts", ignore_errors=True)
    for name in ("fit.json", TABLE):
        (folder / name).unlink(missing_ok=True)


def write_splats(
    folder: Path,
    form: str,
    pictures: Sequence[Picture],
    results: Sequence[Result],
    how: How,
    *,
    images: bool,
) -> None:
    """Writes the splats.

    Args:
        form: `packed`; or `npz` or `pt`, a file for each picture in the original's layout.
        images: whether the pictures are stored with packed splats; only if all have one size.
    """
    if form != "packed":
        for picture, result in zip(pictures, results, strict=True):
            file = original(result, picture.size)
            write = write_npz if form == "npz" else write_pt
            write(folder / f"{picture.name}.{form}", file)
        write_sizes(folder, {picture.name: picture.size for picture in pictures})
        return
    same = len({picture.size for picture in pictures}) == 1
    packed = Packed(
        np.stack([result.splats for result in results]),
        tuple(picture.name for picture in pictures),
        tuple(picture.size for picture in pictures),
        blend=how.blend,
        cells=results[0].cells if same else None,
        psnr=tuple(result.psnr for result in results),
        ssim=tuple(result.ssim for result in results),
        images=np.stack([picture.pixels() for picture in pictures]) if images and same else None,
        settings={"mode": "imagegs" if isinstance(how, ImageGS) else "grid", **vars(how)},
    )
    write_packed(folder, packed)


def original(result: Result, size: tuple[int, int]) -> SplatFile:
    """Splats in the original's layout `rs`, their centres counted from the corners of pixels."""
    height, width = size
    splats = to_rs(torch.from_numpy(result.splats.copy()))
    splats[:, :2] -= torch.tensor([0.5 / width, 0.5 / height])
    return SplatFile(splats.numpy(), {"psnr": result.psnr, "ssim": result.ssim})


def draw(folder: Path, pictures: Sequence[Picture], results: Sequence[Result], how: How) -> None:
    """A PNG for each picture: the original on the left, its rendered splats on the right."""
    for picture, result in zip(pictures, results, strict=True):
        pair = torch.cat([_source(picture), _shown(picture, result, how)], 2)
        scale = max(1, round(_SHOWN_SIDE / max(picture.size)))
        _save(folder, picture.name, pair, scale)


def draw_apart(
    folder: Path, pictures: Sequence[Picture], results: Sequence[Result], how: How
) -> None:
    """Two PNGs for each picture, below `original` and `rendered`."""
    for picture, result in zip(pictures, results, strict=True):
        _save(folder / "original", picture.name, _source(picture))
        _save(folder / "rendered", picture.name, _shown(picture, result, how))


def _source(picture: Picture) -> Tensor:
    return torch.from_numpy(picture.pixels()).float() / 255


def _shown(picture: Picture, result: Result, how: How) -> Tensor:
    """The rendered splats of a picture, (3, H, W) in [0, 1]."""
    topk = how.topk if isinstance(how, ImageGS) else 0
    splats = torch.from_numpy(result.splats.copy())
    return render(splats, *picture.size, blend=how.blend, topk=topk).clamp(0, 1)


def _save(folder: Path, name: str, pixels: Tensor, scale: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_writer(folder / f"{name}.png") as file:
        enlarged(pixels.permute(1, 2, 0), scale).save(file, "PNG")
