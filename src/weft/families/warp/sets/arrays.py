"""Sequences of the user's own, or pictures, from an npz file."""

# N sequences, T steps, d channels

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from weft.data.formats import npz_splits
from weft.data.guard import unreadable
from weft.data.npz import open_npz
from weft.data.series import find_file, require_finite
from weft.data.source import Batch
from weft.errors import DataError
from weft.families.warp.config import Config
from weft.families.warp.sets import pixels
from weft.families.warp.sets.source import Header, Parts, extremes, identity

_FORM = (
    "X_train and X_test (N, T, d); optionally X_val, labels y_<split> (N,), targets "
    "target_<split> (N, T, d_out), true lengths length_<split> (N,) of right-aligned sequences"
)

_ENTRIES = {"x": "X", "target": "target", "label": "y", "length": "length"}
_NAMES = {f"{name}_{split}" for name in _ENTRIES.values() for split in ("train", "val", "test")}


def _locate(config: Config) -> Path:
    """The file `data.dataset`, as given or below a data folder.

    Raises:
        DataError: there is none.
    """
    given = Path(config.data.dataset).expanduser()
    if given.is_file():
        return given
    return find_file((str(given),), root=config.data.root, expected=f"an npz file of {_FORM}")


def header(config: Config) -> Header:
    """What the file holds.

    Raises:
        DataError: the file is absent, or its arrays are missing, ill-shaped or no numbers.
    """
    if _holds_images(config):
        return pixels.header(config)
    splits = _read(config)
    train = splits["train"]
    labels = [part["label"] for part in splits.values() if "label" in part]
    return Header(
        steps=train["x"].shape[1],
        channels=train["x"].shape[2],
        sizes={split: len(part["x"]) for split, part in splits.items()},
        outputs=train["target"].shape[2] if "target" in train else None,
        num_classes=1 + max((int(label.max()) for label in labels), default=-1),
        ragged="length" in train,
    )


def load(config: Config) -> Parts:
    """The sequences in their own units, or scaled by their training extremes if `normalize`."""
    if _holds_images(config):
        return pixels.load(config)
    splits = _read(config)
    fit = extremes(positive=config.unit_normalise) if config.data.normalize else identity
    return Parts(splits["train"], splits["test"], splits.get("val"), fit)


def _holds_images(config: Config) -> bool:
    """Whether the file has `<split>_images`, or Keras' names for them, rather than sequences."""
    return bool(npz_splits(_locate(config)))


def _read(config: Config) -> dict[str, Batch]:
    path = _locate(config)
    with open_npz(path, f"an npz file of {_FORM}") as archive:
        arrays = {name: archive.array(name) for name in archive.names if name in _NAMES}
        there = archive.names
    splits = {}
    for split in ("train", "val", "test"):
        if f"X_{split}" in arrays:
            splits[split] = _split(arrays, split, path, config.data.sequence_length)
        elif split != "val":
            raise _unreadable(path, f"arrays {', '.join(there[:20])}")
    shapes = {(part["x"].shape[1:], tuple(sorted(part))) for part in splits.values()}
    if len(shapes) > 1:
        raise _unreadable(path, "splits that differ in shape or in what they hold")
    return splits


def _split(arrays: dict[str, np.ndarray], split: str, path: Path, steps: int | None) -> Batch:
    found = {
        entry: arrays[f"{name}_{split}"]
        for entry, name in _ENTRIES.items()
        if f"{name}_{split}" in arrays
    }
    size, length = len(found["x"]), found["x"].shape[1:2]
    for entry, array in found.items():
        is_series = entry in ("x", "target")
        whole = np.issubdtype(array.dtype, np.integer)
        fits = array.ndim == 3 and array.shape[1:2] == length if is_series else array.ndim == 1
        if not fits or len(array) != size or not (whole or is_series):
            raise _unreadable(path, f"{_ENTRIES[entry]}_{split} {array.dtype} {array.shape}")
        require_finite(array, path)
    if "length" in found and steps is not None:
        raise DataError(
            "right-aligned sequences of unequal length cannot be cut",
            where="data.sequence_length",
            expected="no sequence_length for a file with lengths",
        )
    return {
        entry: torch.from_numpy(array[:, :steps].astype(np.float32))
        if entry in ("x", "target")
        else torch.from_numpy(array.astype(np.int64))
        for entry, array in found.items()
    }


def _unreadable(path: Path, found: object) -> DataError:
    return unreadable(path, f"an npz file of {_FORM}", found)
