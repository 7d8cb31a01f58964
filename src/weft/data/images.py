"""Images as tensors, labelled or not, by the name of a set or the path of an npz file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weft.config.sections import Layout
from weft.data import fetch, formats, gate
from weft.data.cache import Arrays, cached
from weft.data.catalog.entry import Form
from weft.data.catalog.sets import find
from weft.data.own import own_file


@dataclass(frozen=True)
class ImageSet:
    """One split of a set.

    Attributes:
        images: uint8, shape (N, C, H, W).
        labels: int64, shape (N,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageHeader:
    """What a set holds.

    Attributes:
        shape: (C, H, W) of an image.
        num_classes: number of classes.
        sizes: split -> number of images.
        class_counts: training images of each class.
    """

    shape: tuple[int, int, int]
    num_classes: int
    sizes: Mapping[str, int]
    class_counts: tuple[int, ...]


def image_header(
    name: str,
    *,
    root: str | Path | None = None,
    download: bool = True,
    layout: Layout | None = None,
    labelled: bool = True,
) -> ImageHeader:
    """The header of the set `name`; for sets of the catalogue no file is opened.

    Args:
        name: a set of the catalogue, or the path of an npz file.
        root: folder to look in before $WEFT_DATA and the cache.
        download: whether `load_images` will be allowed to download missing files.
        layout: order of the axes of an npz file's pictures; needed if it is ambiguous.
        labelled: whether the labels of an npz file are wanted; without them it has 0 classes.

    Raises:
        UsageError: if there is no such set.
        DataError: if a file is missing and will not be downloaded, or an npz file's splits do not
            fit together.
    """
    if name.endswith(".npz"):
        return _npz_header(_npz_path(name, root), layout, labelled=labelled)
    known = find(name, "images")
    fetch.expect(name, root=root, download=download)
    channels, height, width = known.shape
    return ImageHeader(
        (channels, height, width), len(known.classes), known.sizes, known.class_counts
    )


def load_images(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    download: bool = True,
    layout: Layout | None = None,
) -> ImageSet:
    """The images and labels of a split, verified against the set's checksums.

    Args:
        name: a set of the catalogue, or the path of an npz file (see `formats.read_npz`).
        split: "train" or "test"; an npz file may also hold "val".
        root: folder to look in before $WEFT_DATA and the cache.
        download: whether missing files may be downloaded to the cache.
        layout: order of the axes of an npz file's pictures; needed if it is ambiguous.

    Raises:
        UsageError: if there is no such set.
        DataError: if a file or the split is missing, or a file is damaged or out of reach.
        MissingExtra: if the files need a reader that is not installed.
    """
    if name.endswith(".npz"):
        images, labels = formats.read_npz([_npz_path(name, root)], split, layout)
    else:
        images, labels = _read_set(name, split, root, download)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels))


def load_pixels(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    download: bool = True,
    layout: Layout | None = None,
) -> Tensor:
    """What `load_images` gives without labels, which an npz file then need not have.

    Returns: uint8 (N, C, H, W).
    """
    if name.endswith(".npz"):
        return torch.from_numpy(formats.read_npz_images(_npz_path(name, root), split, layout))
    return torch.from_numpy(_read_set(name, split, root, download)[0])


def has_labels(name: str, *, root: str | Path | None = None) -> bool:
    """Whether a set has labels: those of the catalogue all do.

    Raises:
        DataError: there is no such npz file.
    """
    return not name.endswith(".npz") or formats.npz_has_labels(_npz_path(name, root))


def _read_set(name: str, split: str, root: str | Path | None, download: bool) -> formats.Arrays:
    """The arrays of a set of the catalogue, as it says they are."""
    known = find(name, "images")
    form, paths = fetch.require(name, split, root=root, download=download)
    images, labels = _read(form, paths, split)
    found = {"images": len(images), "shape": images.shape[1:]}
    promised = {"images": known.sizes[split], "shape": known.shape}
    gate.keep_promise(f"{name} {split}", found, promised)
    return images, labels


def _read(form: Form, paths: Sequence[Path], split: str) -> formats.Arrays:
    """The arrays of verified files, from the cache if they are slow to decode."""
    read = partial(formats.READERS[form.reader], paths, split)
    if not form.keep_decoded:
        return read()
    key = "-".join(file.sha256[:16] for file in form.splits[split])

    def make() -> Arrays:
        return dict(zip(("images", "labels"), read(), strict=True))

    kept = cached("decoded", f"{split}-{key}", make)
    return kept["images"], kept["labels"]


def _npz_path(name: str, root: str | Path | None) -> Path:
    """The path of the npz file `name`."""
    return own_file(name, root=root, expected="an npz file of images")


def _npz_header(path: Path, layout: Layout | None, *, labelled: bool) -> ImageHeader:
    parts: dict[str, gate.Part] = {}
    for split in formats.npz_splits(path):
        labels = None
        if labelled:
            images, labels = formats.read_npz([path], split, layout)
        else:
            images = formats.read_npz_images(path, split, layout)
        facts = {"shape": images.shape[1:], "dtype": str(images.dtype)}
        parts[split] = gate.Part(len(images), facts, labels)
    num_classes = gate.hold(parts, str(path))
    counted = parts["train"].labels
    return ImageHeader(
        images.shape[1:],
        num_classes,
        {split: part.size for split, part in parts.items()},
        () if counted is None else tuple(np.bincount(counted, minlength=num_classes).tolist()),
    )
