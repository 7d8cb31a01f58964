"""A set of splats as one memory-mapped array, with a file that describes its numbers."""

# M pictures, N splats each

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.atomic import atomic_writer, write_text
from weft.data.content import read_text
from weft.data.guard import parsing, unreadable
from weft.data.used import note

VERSION = 1
_KNOWN = {
    "format": ("weft splats",),
    "version": (VERSION,),
    "layout": ("logcov", "rs"),
    "sampling": ("centre", "corner"),
    "blend": ("normalised", "sum"),
}
_EXPECTED = "a folder with splats.npy and the splats.json that weft writes beside it"

Size = tuple[int, int]


@dataclass(frozen=True)
class Packed:
    """Splats of many pictures.

    Attributes:
        splats: float32 (M, N, 8); memory-mapped if they are from a file.
        names: of the pictures.
        sizes: (height, width) of each picture, whose pixels are the unit of covariances.
        layout: of the columns: "logcov" or "rs".
        sampling: a centre x is at pixel x W - 0.5 for "centre", and at x W for "corner".
        blend: "normalised" or "sum".
        cells: (rows, columns) of the grid whose cells, in Hilbert's order, the splats of an
            anchored fit belong to; None for splats without cells.
        psnr, ssim: of each fit; empty if unknown.
        images: the pictures, uint8 (M, 3, H, W); None if they are not stored.
        settings: of the fit, as far as they are known.
    """

    splats: NDArray[np.float32]
    names: tuple[str, ...]
    sizes: tuple[Size, ...]
    layout: str = "logcov"
    sampling: str = "centre"
    blend: str = "normalised"
    cells: Size | None = None
    psnr: tuple[float, ...] = ()
    ssim: tuple[float, ...] = ()
    images: NDArray[np.uint8] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.splats)

    @property
    def size(self) -> Size | None:
        """(height, width) of all pictures; None if they differ."""
        return self.sizes[0] if len(set(self.sizes)) == 1 else None


def write_packed(folder: Path, packed: Packed) -> None:
    """Writes splats.npy, splats.json and, if there are pictures, images.npy to `folder`.

    Raises:
        ValueError: if the parts of `packed` do not match.
    """
    if wrong := _misfit(packed):
        raise ValueError(wrong)
    folder.mkdir(parents=True, exist_ok=True)
    words = folder / "splats.json"
    # The old description is removed first, as it must never stand beside the new splats.
    words.unlink(missing_ok=True)
    arrays: dict[str, NDArray[Any]] = {"splats": packed.splats}
    if packed.images is not None:
        arrays["images"] = packed.images
    for name, values in arrays.items():
        with atomic_writer(folder / f"{name}.npy") as file:
            np.save(file, np.ascontiguousarray(values), allow_pickle=False)
    described = {
        "format": "weft splats",
        "version": VERSION,
        "layout": packed.layout,
        "sampling": packed.sampling,
        "blend": packed.blend,
        "shape": list(packed.splats.shape),
        "cells": packed.cells,
        "sizes": [packed.size] if packed.size else packed.sizes,
        "names": packed.names,
        "psnr": packed.psnr,
        "ssim": packed.ssim,
        "settings": packed.settings,
        "sha256": {name: _checksum(folder / f"{name}.npy") for name in arrays},
    }
    write_text(words, json.dumps(described, indent=1) + "\n")


def read_packed(folder: Path, *, verify: bool = True) -> Packed:
    """The splats in `folder`, mapped into memory.

    Args:
        folder: written by `write_packed`.
        verify: whether to read the arrays once and verify their checksums.
    Raises:
        DataError: if a file is missing, damaged, or of another format or version.
    """
    words = folder / "splats.json"
    text = read_text(words, _EXPECTED)
    with parsing(words, _EXPECTED):
        told = json.loads(text)
        for key, known in _KNOWN.items():
            if told[key] not in known:
                raise unreadable(words, f"`{key}`: {' or '.join(map(str, known))}", told[key])
        checksums = {str(name): str(value) for name, value in told["sha256"].items()}
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("splats", "images")
            if name in checksums
        }
        splats = arrays["splats"]
        sizes = tuple(_size(size) for size in told["sizes"])
        packed = Packed(
            splats,
            tuple(map(str, told["names"])),
            sizes * len(splats) if len(sizes) == 1 else sizes,
            told["layout"],
            told["sampling"],
            told["blend"],
            told["cells"] and _size(told["cells"]),
            tuple(map(float, told["psnr"])),
            tuple(map(float, told["ssim"])),
            arrays.get("images"),
            dict(told["settings"]),
        )
        wrong = _misfit(packed)
    if wrong:
        raise unreadable(folder / "splats.npy", _EXPECTED, wrong)
    for name in arrays:
        path = folder / f"{name}.npy"
        if verify and (found := _checksum(path)) != checksums[name]:
            raise unreadable(path, f"SHA-256 {checksums[name]}", f"SHA-256 {found}")
        note(path, sha256=checksums[name])
    return packed


def _size(values: Any) -> Size:
    height, width = values
    return int(height), int(width)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _misfit(packed: Packed) -> str:
    """What is wrong with `packed`; "" if nothing is."""
    splats, images = packed.splats, packed.images
    if splats.ndim != 3 or splats.shape[2] != 8 or splats.dtype != np.float32 or not splats.size:
        return f"splats as {splats.dtype} {splats.shape} instead of float32 (M, N, 8)"
    told = {"sizes": packed.sizes, "names": packed.names, "psnr": packed.psnr, "ssim": packed.ssim}
    for name, values in told.items():
        if len(values) != len(splats) and (values or name in ("sizes", "names")):
            return f"{len(values)} {name} of {len(splats)} pictures"
    if min(map(min, packed.sizes)) < 1:
        return "a picture without pixels"
    if packed.cells is not None and packed.cells[0] * packed.cells[1] != splats.shape[1]:
        return f"{splats.shape[1]} splats on a grid of {packed.cells}"
    if images is not None:
        wanted = (len(splats), 3, *(packed.size or ()))
        if images.shape != wanted or images.dtype != np.uint8:
            return f"pictures as {images.dtype} {images.shape} instead of uint8 {wanted}"
    return ""
