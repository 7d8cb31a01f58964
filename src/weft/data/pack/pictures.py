"""Packs folders of pictures as arrays to train and test on, a class a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from weft.data.albums import album
from weft.data.remarks import remark
from weft.errors import DataError


def pictures(
    folder: Path, size: int, *, grey: bool, held_out: float, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pictures of a folder, cut to the square about their middle and scaled, and their classes.

    Each folder inside that is not hidden is a class; without any, all pictures are one class. A
    share `held_out` of each class, at least one picture, becomes the test set.

    Returns: arrays `x_train` and `x_test`, uint8 (N, 3, size, size), or (N, size, size) if grey,
        `y_train` and `y_test`, class numbers (N,); and `classes`, their names.

    Raises:
        DataError: if a class has fewer than two pictures, or lies in another.
    """
    below = sorted(
        each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")
    )
    _check_apart(below)
    parts: dict[str, list[NDArray[np.uint8]]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    seen: dict[str, list[str]] = {"train": [], "test": []}
    draw = np.random.default_rng(seed)
    for label, place in enumerate(below or [folder]):
        found = album([str(place)])
        if len(found) < 2:
            raise DataError("a single picture", where=str(place), expected="one more, to test on")
        tested = draw.permutation(len(found)) < min(max(1, held_out * len(found)), len(found) - 1)
        for each, held in zip(found, tested, strict=True):
            picture: Image.Image = Image.fromarray(each.pixels().transpose(1, 2, 0))
            picture = ImageOps.fit(picture.convert("L" if grey else "RGB"), (size, size))
            pixels = np.asarray(picture)
            split = "test" if held else "train"
            parts[split].append(pixels if grey else pixels.transpose(2, 0, 1))
            labels[split].append(label)
            seen[split].append(each.digest)
    known = set(seen["train"])
    if twice := sum(digest in known for digest in seen["test"]):
        remark(f"{twice} of {len(seen['test'])} pictures to test on are trained on, too: copies")
    arrays: dict[str, Any] = {f"x_{split}": np.stack(x) for split, x in parts.items()}
    arrays |= {f"y_{split}": np.array(y) for split, y in labels.items()}
    return arrays, {"classes": [each.name for each in below]}


def _check_apart(classes: Sequence[Path]) -> None:
    """Refuses classes that share pictures, as links to folders above or beside them make them: some
    would be trained on and tested on, under two labels."""
    homes = {each.resolve(): each for each in reversed(classes)}
    for each in classes:
        for home in (each.resolve(), *each.resolve().parents):
            other = homes.get(home, each)
            if other != each:
                raise DataError(
                    f"the class `{each.name}` is, or lies in, `{other.name}`",
                    where=f"{each} -> {each.resolve()}" if each.is_symlink() else str(each),
                    expected="classes that have no picture in common",
                )
