"""A user's sequences or pictures from an npz file."""

# N sequences, T steps, d channels

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weft.data.formats import npz_splits
from weft.data.gate import Part, hold
from weft.data.guard import unreadable
from weft.data.npz import open_npz
from weft.data.own import own_file
from weft.data.series import require_finite
from weft.data.source import Batch
from weft.errors import DataError
from weft.families.warp.config import Config
from weft.families.warp.sets import pixels
from weft.families.warp.sets.source import Header, Parts, extremes, identity

Arrays = dict[str, NDArray[Any]]

_NAMES = {"x": "X", "target": "target", "label": "y", "length": "length"}
_SERIES = {"x", "target"}
_FORM = (
    "X_train and X_test (N, T, d); optionally X_val, labels y_<split> (N,), targets "
    "target_<split> (N, T, d_out), true lengths length_<split> (N,) of right-aligned sequences"
)

_ARRAYS = {f"{name}_{split}" for name in _NAMES.values() for split in ("train", "val", "test")}


def _locate(config: Config) -> Path:
    """The file `data.dataset`, as given or below a data folder.

    Raises:
        DataError: if there is none.
    """
    data = config.data
    return own_file(data.dataset, root=data.root, expected=f"an npz file of {_FORM}")


def header(config: Config) -> Header:
    """Shapes and sizes of the file's arrays.

    Raises:
        DataError: if the file or an array is missing, or an array has a wrong shape or dtype.
    """
    if _holds_images(config):
        return pixels.header(config)
    splits, num_classes = _read(config)
    train = splits["train"]
    return Header(
        steps=train["x"].shape[1],
        channels=train["x"].shape[2],
        sizes={split: len(part["x"]) for split, part in splits.items()},
        outputs=train["target"].shape[2] if "target" in train else None,
        num_classes=num_classes,
        ragged="length" in train,
    )


def load(config: Config) -> Parts:
    """The sequences in their own units, or scaled by the training extremes if `normalize`."""
    if _holds_images(config):
        return pixels.load(config)
    splits, _ = _read(config)
    fit = extremes(positive=config.unit_normalise) if config.data.normalize else identity
    return Parts(splits["train"], splits["test"], splits.get("val"), fit)


def _holds_images(config: Config) -> bool:
    """Whether the file has `<split>_images`, or Keras' names for them, rather than sequences."""
    return bool(npz_splits(_locate(config)))


def _read(config: Config) -> tuple[dict[str, Batch], int]:
    """The parts, after a check that they agree, and the number of classes."""
    path = _locate(config)
    with open_npz(path, f"an npz file of {_FORM}") as archive:
        arrays = {name: archive.array(name) for name in archive.names if name in _ARRAYS}
    found = {
        split: _checked(arrays, split, path)
        for split in ("train", "val", "test")
        if f"X_{split}" in arrays
    }
    num_classes = hold({split: _part(one) for split, one in found.items()}, str(path))
    steps = config.data.sequence_length
    if "length" in found["train"] and steps is not None:
        raise DataError(
            "right-aligned sequences of unequal length cannot be cut",
            where="data.sequence_length",
            expected="no sequence_length for a file with lengths",
        )
    return {split: _tensors(one, steps) for split, one in found.items()}, num_classes


def _part(arrays: Arrays) -> Part:
    """The properties in which all parts must agree."""
    facts: dict[str, object] = {"arrays": ", ".join(f"{_NAMES[entry]}_…" for entry in arrays)}
    for entry in _SERIES & arrays.keys():
        facts[f"shape of {_NAMES[entry]}"] = arrays[entry].shape[1:]
        facts[f"dtype of {_NAMES[entry]}"] = str(arrays[entry].dtype)
    return Part(len(arrays["x"]), facts, arrays.get("label"))


def _checked(arrays: Mapping[str, NDArray[Any]], split: str, path: Path) -> Arrays:
    """The arrays of a part, after a check of their shapes, dtypes and numbers of items."""
    found = {
        entry: arrays[f"{name}_{split}"]
        for entry, name in _NAMES.items()
        if f"{name}_{split}" in arrays
    }
    size, length = found["x"].shape[:1], found["x"].shape[1:2]
    for entry, array in found.items():
        is_series = entry in _SERIES
        number = array.dtype.kind in ("biuf" if is_series else "iu")
        fits = array.ndim == 3 and array.shape[1:2] == length if is_series else array.ndim == 1
        if not fits or array.shape[:1] != size or not number:
            raise _unreadable(path, f"{_NAMES[entry]}_{split} {array.dtype} {array.shape}")
        require_finite(array, path)
    if "length" in found:
        lengths = found["length"]
        if ((lengths < 1) | (lengths > length[0])).any():
            raise _unreadable(
                path, f"length_{split} from {lengths.min()} to {lengths.max()} of {length[0]} steps"
            )
    return {
        entry: array if entry in _SERIES else array.astype(np.int64)
        for entry, array in found.items()
    }


def _tensors(arrays: Arrays, steps: int | None) -> Batch:
    return {
        entry: torch.from_numpy(array[:, :steps].astype(np.float32))
        if entry in _SERIES
        else torch.from_numpy(array)
        for entry, array in arrays.items()
    }


def _unreadable(path: Path, found: object) -> DataError:
    return unreadable(path, f"an npz file of {_FORM}", found)
