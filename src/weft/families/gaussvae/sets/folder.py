"""Reads folders of the original's files of splats, one per picture."""

# M pictures, N splats

from __future__ import annotations

from pathlib import Path

import numpy as np

from weft.errors import DataError
from weft.families.gaussvae.splats.files import read_file
from weft.families.gaussvae.splats.packed import Packed, Size

ENDINGS = (".npz", ".pt")


def files(folder: Path) -> list[Path]:
    """The .npz and .pt files of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())


def read_folder(folder: Path, size: Size | None, most: int | None = None) -> Packed:
    """The splats of a folder's files.

    Args:
        folder: of .npz and .pt files.
        size: (height, width) of the pictures, which the files do not contain.
        most: number of files to read, the first ones by name; None: all.
    Raises:
        DataError: if the size is unknown, a file is damaged, or the numbers of splats differ.
    """
    if size is None:
        raise DataError(
            "files of splats do not say how large their pictures were",
            where="data.size",
            expected="[height, width] in pixels, such as data.size=[512,512]",
        )
    paths = files(folder)[:most]
    splats = [read_file(path) for path in paths]
    for path, each in zip(paths, splats, strict=True):
        if len(each) != len(splats[0]):
            raise DataError(
                f"{path.name} holds {len(each)} splats, {paths[0].name} {len(splats[0])}",
                where=str(path),
                expected="as many in each",
            )
    names = tuple(path.stem for path in paths)
    return Packed(np.stack(splats), names, (size,) * len(paths), layout="rs", sampling="corner")
