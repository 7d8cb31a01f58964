"""CelebA from a folder of pictures, resized, as sequences of their pixels."""

# N pictures, H x W pixels

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from weft.data import fetch
from weft.data.cache import Arrays, cached
from weft.data.content import read_lines
from weft.data.pictures import Decoder
from weft.data.remarks import remark
from weft.data.source import Batch
from weft.data.used import note
from weft.errors import DataError, MissingData
from weft.families.warp.config import Config
from weft.families.warp.sets.pixels import as_sequence, bytes_to
from weft.families.warp.sets.source import Header, Parts

# Numbers of the official parts in list_eval_partition.txt.
_PARTS = {"train": "0", "val": "1", "test": "2"}

# To be increased when pictures are decoded in another way, which makes the cache invalid.
_DECODER = 2

_READ = 500
"""Number of pictures of a part whose bytes are in the checksum."""


def header(config: Config) -> Header:
    """The pictures of the three official parts, at `data.resolution`.

    Raises:
        DataError: if they are missing.
    """
    height, width = config.data.resolution
    sizes = {split: len(paths) for split, paths in _files(config).items()}
    return Header(height * width, 3, sizes, canvas=(height, width))


def load(config: Config) -> Parts:
    """The pictures as bytes, resized once and cached."""
    size = config.data.resolution
    splits: dict[str, Batch] = {}
    for split, paths in _files(config).items():
        sha256 = _identity(paths, size)
        note(paths[0].parent, f"celeba {split}", sha256)
        name = f"celeba-{split}-{_DECODER}-{sha256[:16]}"
        kept = cached("decoded", name, partial(_resized, paths, size))
        for text in kept["remarks"]:
            remark(str(text))
        splits[split] = {"x": as_sequence(torch.from_numpy(kept["images"]), 1)}
    return Parts(splits["train"], splits["test"], splits["val"], bytes_to(config))


def _identity(paths: list[Path], size: tuple[int, int]) -> str:
    """A SHA-256 of the names and sizes of all pictures, and of the bytes of some of them.

    To read all 200,000 would take minutes; those read are evenly spaced.
    """
    found = hashlib.sha256(str(size).encode())
    every = -(-len(paths) // _READ)
    for place, path in enumerate(paths):
        found.update(f"\n{path.name} {path.stat().st_size}".encode())
        if place % every == 0:
            found.update(path.read_bytes())
    return found.hexdigest()


def _files(config: Config) -> dict[str, list[Path]]:
    """The files of each part that the config asks for, in the partition's order.

    Raises:
        DataError: if the folder or its partition is missing, or a part is empty.
    """
    looked = [
        place / name for place in fetch.places(config.data.root) for name in ("celeba", "CelebA")
    ]
    partition = "list_eval_partition.txt"
    for folder in looked:
        if (folder / partition).is_file():
            break
    else:
        raise MissingData(
            "`celeba` is not here",
            expected=f"a folder with {partition} and img_align_celeba/*.jpg",
            hint=f"{fetch.looked_for(folder / partition for folder in looked)}\n"
            "by hand, get it from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html: "
            "its licence lets weft download nothing",
        )
    rows = [line.split() for line in read_lines(folder / partition) if line.strip()]
    wanted = {"train": config.data.train_size, "test": config.data.test_size}
    files = {
        split: [folder / "img_align_celeba" / row[0] for row in rows if row[1:] == [number]]
        for split, number in _PARTS.items()
    }
    if empty := [split for split, paths in files.items() if not paths]:
        raise DataError(
            f"{partition} names no pictures for {', '.join(empty)}",
            where=str(folder / partition),
            expected="lines `000001.jpg 0`, with 0 train, 1 val, 2 test",
        )
    # Decoding is slow, so only the pictures in use are decoded.
    files = {split: paths[: wanted.get(split)] for split, paths in files.items()}
    pictures = folder / "img_align_celeba"
    here = {entry.name for entry in pictures.iterdir()} if pictures.is_dir() else set()
    listed = [path for paths in files.values() for path in paths]
    if absent := [path for path in listed if path.name not in here]:
        raise DataError(
            f"{len(absent):,} of {len(listed):,} pictures are not here, {absent[0].name} first",
            where=str(pictures),
            expected=f"every picture that {partition} names",
        )
    note(folder / partition)
    return files


def _resized(paths: list[Path], size: tuple[int, int]) -> Arrays:
    """`images` (N, 3, height, width), resized by Lanczos' filter, and `remarks` on them."""
    height, width = size
    images = np.empty((len(paths), 3, height, width), np.uint8)
    decode = Decoder()
    for place, path in enumerate(paths):
        small = decode(path).resize((width, height), Image.Resampling.LANCZOS)
        images[place] = np.asarray(small).transpose(2, 0, 1)
    return {"images": images, "remarks": np.array(decode.remarks("celeba"), np.str_)}
