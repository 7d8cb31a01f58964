"""Pictures as sequences of their pixels, row by row."""

# N pictures, H x W pixels, C colours

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from weft.data import fetch
from weft.data.cache import Arrays, cached
from weft.data.images import image_header, load_images
from weft.data.source import Batch
from weft.errors import DataError
from weft.families.warp.config import Config
from weft.families.warp.sets.source import Header, Parts, Scale

# The official parts of CelebA, by a number in list_eval_partition.txt.
_CELEBA_PARTS = {"train": "0", "val": "1", "test": "2"}


def as_sequence(images: Tensor, downsample: int) -> Tensor:
    """Every n-th row and column of pictures (N, C, H, W), as (N, H' W', C), row by row."""
    kept = images[:, :, ::downsample, ::downsample]
    return kept.flatten(2).transpose(1, 2).contiguous()


def header(config: Config) -> Header:
    """The set's pictures; only CelebA has a validation part of its own."""
    data = config.data
    if data.dataset == "celeba":
        files = _celeba(config)
        height, width = data.resolution
        sizes = {split: len(paths) for split, paths in files.items()}
        return Header(height * width, 3, sizes, canvas=(height, width))
    found = image_header(data.dataset, root=data.root, download=data.download)
    channels, *sides = found.shape
    height, width = (-(-side // data.downsample_factor) for side in sides)
    return Header(
        steps=height * width,
        channels=channels,
        sizes={split: found.sizes.get(split, 0) for split in ("train", "test")}
        | ({"val": found.sizes["val"]} if "val" in found.sizes else {}),
        num_classes=found.num_classes,
        canvas=(height, width),
    )


def load(config: Config) -> Parts:
    """The pictures as bytes; the scale takes 0..255 to [-1, 1], or to [0, 1]."""
    splits = _load_celeba(config) if config.data.dataset == "celeba" else _load_named(config)
    scale = Scale.between(torch.zeros(()), torch.tensor(255.0), positive=config.unit_normalise)
    return Parts(splits["train"], splits.get("test"), splits.get("val"), lambda _: scale)


def _load_named(config: Config) -> dict[str, Batch]:
    data = config.data
    splits = {}
    for split, size in header(config).sizes.items():
        if size:
            found = load_images(data.dataset, split, root=data.root, download=data.download)
            x = as_sequence(found.images, data.downsample_factor)
            splits[split] = {"x": x, "label": found.labels}
    return splits


def _celeba(config: Config) -> dict[str, list[Path]]:
    """The files of each part that the config asks for, in the partition's order.

    Raises:
        DataError: the folder or its partition is not here, or a part is empty.
    """
    looked = [
        place / name for place in fetch.places(config.data.root) for name in ("celeba", "CelebA")
    ]
    partition = "list_eval_partition.txt"
    for folder in looked:
        if (folder / partition).is_file():
            break
    else:
        raise DataError(
            "`celeba` is not here",
            expected=f"a folder with {partition} and img_align_celeba/*.jpg",
            hint="\n".join(
                (
                    "looked for as",
                    *(f"  {folder / partition}" for folder in looked),
                    "by hand, get it from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html: "
                    "its licence lets weft download nothing",
                )
            ),
        )
    rows = [line.split() for line in (folder / partition).read_text().splitlines() if line.strip()]
    wanted = {"train": config.data.train_size, "test": config.data.test_size}
    files = {
        split: [folder / "img_align_celeba" / row[0] for row in rows if row[1:] == [number]]
        for split, number in _CELEBA_PARTS.items()
    }
    if empty := [split for split, paths in files.items() if not paths]:
        raise DataError(
            f"{partition} names no pictures for {', '.join(empty)}",
            where=str(folder / partition),
            expected="lines `000001.jpg 0`, with 0 train, 1 val, 2 test",
        )
    # Decoding is slow: what will not be used is not decoded.
    return {split: paths[: wanted.get(split)] for split, paths in files.items()}


def _load_celeba(config: Config) -> dict[str, Batch]:
    """The pictures, resized once a machine and kept in the cache."""
    size = config.data.resolution
    splits: dict[str, Batch] = {}
    for split, paths in _celeba(config).items():
        marks = (f"{path.name} {path.stat().st_size}" for path in paths if path.exists())
        key = hashlib.sha256("\n".join((str(size), *marks)).encode()).hexdigest()[:16]
        kept = cached("decoded", f"celeba-{split}-{key}", partial(_resized, paths, size))
        splits[split] = {"x": as_sequence(torch.from_numpy(kept["images"]), 1)}
    return splits


def _resized(paths: list[Path], size: tuple[int, int]) -> Arrays:
    """`images` (N, 3, height, width), resized by Lanczos' filter."""
    height, width = size
    images = np.empty((len(paths), 3, height, width), np.uint8)
    for place, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(
                f"{path.name} cannot be read", where=str(path), expected="a picture",
                hint=f"found: {error}",
            ) from error  # fmt: skip
        images[place] = np.asarray(small).transpose(2, 0, 1)
    return {"images": images}
