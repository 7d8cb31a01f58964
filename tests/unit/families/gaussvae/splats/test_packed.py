"""Packed splats: what was written is read, and what is damaged or foreign is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from weft.errors import DataError
from weft.families.gaussvae.splats.packed import Packed, read_packed, write_packed

SPLATS = np.random.default_rng(0).random((3, 4, 8), np.float32)
PACKED = Packed(
    SPLATS,
    ("a", "b", "c"),
    ((6, 8),) * 3,
    cells=(2, 2),
    psnr=(30.0, 31.0, 32.5),
    ssim=(0.9, 0.8, 0.7),
    images=np.zeros((3, 3, 6, 8), np.uint8),
    settings={"steps": 3},
)


def test_what_is_written_is_read_and_mapped(tmp_path: Path) -> None:
    write_packed(tmp_path / "deep" / "er", PACKED)
    found = read_packed(tmp_path / "deep" / "er")
    assert isinstance(found.splats, np.memmap) and isinstance(found.images, np.memmap)
    assert np.array_equal(found.splats, SPLATS) and not found.images.any()
    assert replace(found, splats=SPLATS, images=None) == replace(PACKED, images=None)


def test_pictures_of_unlike_sizes_keep_theirs(tmp_path: Path) -> None:
    sizes = ((6, 8), (8, 6), (6, 8))
    write_packed(tmp_path, replace(PACKED, sizes=sizes, images=None, psnr=(), cells=None))
    found = read_packed(tmp_path)
    assert found.sizes == sizes and found.size is None and found.psnr == ()


@pytest.mark.parametrize(
    "change",
    [
        {"splats": SPLATS.astype(np.float64)},
        {"splats": SPLATS[..., :7]},
        {"names": ("a",)},
        {"psnr": (1.0,)},
        {"cells": (2, 3)},
        {"images": np.zeros((3, 3, 8, 8), np.uint8)},
        {"sizes": ((0, 8),) * 3},
    ],
)
def test_parts_that_do_not_fit_together_are_not_written(
    tmp_path: Path, change: dict[str, object]
) -> None:
    with pytest.raises(ValueError):
        write_packed(tmp_path / "new", replace(PACKED, **change))
    assert not (tmp_path / "new").exists()


def _edit(folder: Path, **change: object) -> None:
    path = folder / "splats.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte of the splats": lambda folder: (folder / "splats.npy").write_bytes(
        (folder / "splats.npy").read_bytes()[:-1] + b"x"
    ),
    "the end of the splats": lambda folder: (folder / "splats.npy").write_bytes(
        (folder / "splats.npy").read_bytes()[:-40]
    ),
    "objects in place of the splats": lambda folder: np.save(
        folder / "splats.npy", np.array([{}], object), allow_pickle=True
    ),
    "no splats": lambda folder: (folder / "splats.npy").unlink(),
    "no description": lambda folder: (folder / "splats.json").unlink(),
    "no JSON": lambda folder: (folder / "splats.json").write_text("{"),
    "another version": lambda folder: _edit(folder, version=2),
    "another layout": lambda folder: _edit(folder, layout="polar"),
    "a name too few": lambda folder: _edit(folder, names=["a"]),
    "a size of text": lambda folder: _edit(folder, sizes="66"),
    "other pictures": lambda folder: np.save(
        folder / "images.npy", np.ones((3, 3, 6, 8), np.uint8)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_error(tmp_path: Path, damage: str) -> None:
    write_packed(tmp_path, PACKED)
    DAMAGE[damage](tmp_path)
    with pytest.raises(DataError):
        read_packed(tmp_path)
