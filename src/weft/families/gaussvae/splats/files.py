"""Splats of one picture in the two files of the original: a checkpoint .pt, an archive .npz."""

# N splats

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.atomic import atomic_writer, write_text
from weft.data.content import read_text
from weft.data.guard import check_inflation, parsing, unreadable
from weft.data.npz import open_npz
from weft.data.used import note

GROUPS = {"xy": 2, "scale": 2, "rot": 1, "feat": 3}
"""Name of a tensor in a checkpoint -> its columns; in this order they make the eight of `rs`."""

SCORES = ("psnr", "ssim", "lpips")

SIZES = "sizes.json"
"""File with the sizes of the pictures, which the other files do not contain."""

_CONVENTION = {"layout": "rs", "sampling": "corner"}

_PT = "a checkpoint with the tensors xy (N, 2), scale (N, 2), rot (N, 1) and feat (N, 3)"
_NPZ = "an npz file with `gaussians` (N, 8)"
_KINDS = (torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class SplatFile:
    """The content of a file.

    Attributes:
        splats: (N, 8), layout `rs`, sampling `corner`; in the file's own precision.
        scores: of the fit, those of SCORES that are known.
    """

    splats: NDArray[Any]
    scores: Mapping[str, float] = field(default_factory=dict)


def read_file(path: Path) -> NDArray[np.float32]:
    """The splats of a .pt or .npz file as float32 (N, 8), layout `rs`, sampling `corner`.

    Raises:
        DataError: if it is neither, is damaged, or has a number that is not finite.
    """
    read = read_pt if path.suffix == ".pt" else read_npz
    splats: NDArray[np.float32] = read(path).splats.astype(np.float32)
    if not np.isfinite(splats).all():
        raise unreadable(path, "finite numbers", "numbers that are none, or without bounds")
    note(path)
    return splats


def read_pt(path: Path) -> SplatFile:
    """Reads a checkpoint, with tensors in `state_dict` or beside the scores; runs no code from it.

    Raises:
        DataError: if it is not a checkpoint, is damaged, or lacks a tensor.
    """
    with parsing(path, _PT):
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(info.file_size for info in archive.infolist())
            check_inflation(unpacked, size, path)
        held = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(held, dict):
            raise unreadable(path, _PT, type(held).__name__)
        tensors = held.get("state_dict", held)
        if not isinstance(tensors, dict):
            raise unreadable(path, _PT, f"a state_dict of type {type(tensors).__name__}")
        parts = [_columns(path, tensors, name, width, size) for name, width in GROUPS.items()]
        if len({len(part) for part in parts}) > 1:
            raise unreadable(path, _PT, f"{', '.join(str(len(part)) for part in parts)} rows")
        splats = torch.cat(parts, 1).numpy()
        return SplatFile(splats, _scores(path, held))


def read_npz(path: Path) -> SplatFile:
    """Reads an archive.

    Raises:
        DataError: if it is not an archive, is damaged, or lacks `gaussians`.
    """
    with open_npz(path, _NPZ) as archive:
        splats = archive.array("gaussians", "f")
        with parsing(path, _NPZ):
            held = {name: archive.array(name).item() for name in SCORES if name in archive}
            scores = _scores(path, held)
    if splats.ndim != 2 or splats.shape[1] != sum(GROUPS.values()) or not len(splats):
        raise unreadable(path, _NPZ, f"`gaussians` {splats.shape}")
    return SplatFile(splats, scores)


def write_npz(path: Path, file: SplatFile) -> None:
    """Writes `gaussians` in its own precision, and the scores as float64 scalars."""
    scores = {name: np.float64(value) for name, value in file.scores.items()}
    with atomic_writer(path) as stream:
        np.savez(stream, allow_pickle=False, gaussians=file.splats, **scores)


def write_pt(path: Path, file: SplatFile, *, vis_feat: bool = True) -> None:
    """Writes a checkpoint of float32 tensors, and the scores beside them.

    Args:
        vis_feat: whether to add the tensor of that name, zeros (N, 3), that the original's own
            viewer wants.
    """
    splats = torch.from_numpy(np.ascontiguousarray(file.splats)).float()
    parts = splats.split(list(GROUPS.values()), 1)
    # Copies, because a slice would be written with the whole tensor behind it.
    tensors = {name: part.clone() for name, part in zip(GROUPS, parts, strict=True)}
    if vis_feat:
        tensors["vis_feat"] = torch.zeros(len(splats), 3)
    with atomic_writer(path) as stream:
        torch.save({"state_dict": tensors, **file.scores}, stream)


def write_sizes(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Adds (height, width) of pictures to sizes.json, by the stem of their files."""
    known = read_sizes(folder) | dict(sizes)
    write_text(folder / SIZES, json.dumps({**_CONVENTION, "sizes": known}, indent=1) + "\n")


def read_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """The sizes written by `write_sizes`; empty if there is no file.

    Raises:
        DataError: if the file is damaged, or of another convention.
    """
    path = folder / SIZES
    if not path.is_file():
        return {}
    expected = f"a JSON file of {_CONVENTION} and `sizes`: stem -> [height, width]"
    text = read_text(path, expected)
    with parsing(path, expected):
        told = json.loads(text)
        if any(told[key] != value for key, value in _CONVENTION.items()):
            raise unreadable(path, expected, text)
        sizes = {str(name): (int(h), int(w)) for name, (h, w) in told["sizes"].items()}
        if min(map(min, sizes.values()), default=1) < 1:
            raise unreadable(path, expected, "a picture without pixels")
    return sizes


def _columns(path: Path, tensors: dict[Any, Any], name: str, width: int, most: int) -> Tensor:
    """One of the tensors, whose memory may not be larger than the file."""
    found = tensors.get(name)
    if found is None:
        raise unreadable(path, _PT, f"no `{name}`; there are: {', '.join(map(str, tensors))}")
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.dtype not in _KINDS:
        raise unreadable(path, _PT, f"`{name}` is {getattr(found, 'dtype', type(found).__name__)}")
    shape = tuple(found.shape)
    fits = found.numel() * found.element_size() <= most and found.device.type == "cpu"
    if len(shape) != 2 or shape[1] != width or not shape[0] or not fits:
        raise unreadable(path, _PT, f"`{name}` of shape {shape}")
    return found.detach()


def _scores(path: Path, held: Mapping[Any, Any]) -> dict[str, float]:
    """Those that are there, as plain numbers; what is no number makes `float` raise."""
    scores = {name: float(held[name]) for name in SCORES if held.get(name) is not None}
    if wrong := [name for name, value in scores.items() if math.isinf(value)]:
        raise unreadable(path, f"a finite `{wrong[0]}`", scores[wrong[0]])
    return scores
