"""Readers of labelled images: files to arrays; nothing in a file is ever executed."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.config.sections import Layout
from weft.data.catalog.entry import Reader
from weft.data.content import read_bytes
from weft.data.gate import channels_last
from weft.data.guard import check_inflation, parsing, unreadable
from weft.data.npz import Archive, open_npz
from weft.data.pages import check_pages
from weft.data.pictures import decoding
from weft.errors import DataError, MissingExtra

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images uint8 (N, C, H, W) and labels int64 (N,)."""

_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_MEMBERS = {
    "train": tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("cifar-10-batches-bin/test_batch.bin",),
}
_NPZ_FORM = "an npz file of images and labels, without pickled objects"
_SPLITS = ("train", "val", "test")
_LARGEST_LABEL = 2**16 - 1
_ROWS_AT_ONCE = 256
_NPZ_NAMES = {"images": ("{split}_images", "x_{split}"), "labels": ("{split}_labels", "y_{split}")}


def read_idx(paths: Sequence[Path], split: str) -> Arrays:
    """MNIST's format: an IDX file of images and one of labels, each plain or gzipped.

    Args:
        paths: the images' file, then the labels'.
        split: not used, since each split has its own files.

    Raises:
        DataError: if a file is not an IDX file of bytes, or the two do not match.
    """
    images, labels = (_idx_array(path) for path in paths)
    if images.ndim != 3 or labels.ndim != 1:
        raise DataError(
            f"{paths[0].name} and {paths[1].name} have {images.ndim} and {labels.ndim} dimensions",
            where=str(paths[0]),
            expected="images of 3 dimensions and labels of 1",
        )
    return _paired(images[:, None], labels, paths[0])


def read_cifar_binary(paths: Sequence[Path], split: str) -> Arrays:
    """CIFAR-10's binary archive: records of one label byte and 3x32x32 pixels, channels first.

    Args:
        paths: cifar-10-binary.tar.gz.
        split: "train" (five members) or "test" (one).

    Raises:
        DataError: if the file is not this archive, or a member is cut short.
    """
    record = 1 + int(np.prod(_CIFAR_SHAPE))
    [path] = paths
    form = "the archive cifar-10-binary.tar.gz"
    unpacked = io.BytesIO(read_bytes(path, form))
    with parsing(path, form), tarfile.open(fileobj=unpacked, mode="r:") as archive:
        streams = [archive.extractfile(name) for name in _CIFAR_MEMBERS[split]]
        content = b"".join(stream.read() for stream in streams if stream)
    if len(content) % record:
        raise unreadable(path, f"records of {record:,} bytes", f"{len(content):,} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return _paired(records[:, 1:].reshape(-1, *_CIFAR_SHAPE), records[:, 0], path)


def read_cifar_parquet(paths: Sequence[Path], split: str) -> Arrays:
    """CIFAR-10 as parquet: a column `img` of encoded pictures, a column `label`.

    Args:
        paths: the split's parquet file.
        split: not used, since each split has its own file.

    Raises:
        MissingExtra: if pyarrow is not installed.
        DataError: if the file is not such a parquet file.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", "reading CIFAR-10 from parquet files") from error
    [path] = paths
    form = "parquet with columns `img`, of encoded pictures 32 x 32, and `label`"
    images: list[NDArray[np.uint8]] = []
    labels, taken = [], 0
    with (
        parsing(path, form),
        pyarrow.parquet.ParquetFile(path) as file,
        decoding(path.name) as decode,
    ):
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        check_inflation(sum(g.total_byte_size for g in groups), path.stat().st_size, path)
        check_pages(path, (g.column(i) for g in groups for i in range(g.num_columns)))
        # A few rows at a time: a small page may repeat one value a billion times.
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["img", "label"]):
            batch.validate(full=True)
            taken += batch.nbytes
            check_inflation(taken, path.stat().st_size, path)
            labels.append(batch["label"].to_numpy(zero_copy_only=False))
            for picture in batch["img"].field("bytes"):
                where = f"{path}, row {len(images)}"
                image = decode(_encoded(picture.as_py(), where), where)
                if image.size != _CIFAR_SHAPE[1:]:
                    raise unreadable(where, form, f"a picture {image.size[0]} x {image.size[1]}")
                images.append(np.asarray(image).transpose(2, 0, 1))
        if not images:
            raise unreadable(path, form, "no rows")
    return _paired(np.stack(images), np.concatenate(labels), path)


def _encoded(value: object, where: str) -> bytes:
    if isinstance(value, bytes):
        return value
    raise unreadable(where, "the bytes of an encoded picture", f"{value!r:.40}")


def read_npz(paths: Sequence[Path], split: str, layout: Layout | None = None) -> Arrays:
    """One npz file of all splits: arrays `<split>_images` and `<split>_labels`.

    Keras' names `x_<split>` and `y_<split>` are understood as well. Images are uint8, (N, H, W),
    (N, C, H, W) or (N, H, W, C); labels integers, (N,) or (N, 1).

    Args:
        paths: the file.
        split: "train", "val" or "test".
        layout: order of the axes; see `gate.channels_last`.

    Raises:
        DataError: if it is not an npz file, holds pickled objects, lacks the split, or its arrays
            are of another form.
    """
    [path] = paths
    images = read_npz_images(path, split, layout)
    with open_npz(path, _NPZ_FORM) as archive:
        labels = _member(archive, "labels", split)
    return _paired(images, labels, path)


def read_npz_images(path: Path, split: str, layout: Layout | None = None) -> NDArray[np.uint8]:
    """The images alone of a file as `read_npz` takes it, which need have no labels.

    Returns: uint8 (N, C, H, W), contiguous and writable.
    Raises:
        DataError: no npz file, pickled objects in it, no such split, or images of another form.
    """
    with open_npz(path, "an npz file of images, without pickled objects") as archive:
        images = _member(archive, "images", split)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise unreadable(
            path,
            f"the images of `{split}` as uint8 (N, H, W), (N, C, H, W) or (N, H, W, C)",
            f"{images.dtype} {images.shape}",
        )
    if images.ndim == 3:
        images = images[:, None]
    elif channels_last(images.shape, layout, str(path)):
        images = images.transpose(0, 3, 1, 2)
    return np.require(images, requirements=("C", "W"))


def npz_has_labels(path: Path) -> bool:
    """Whether there are labels of a split in an npz file.

    Raises:
        DataError: no npz file.
    """
    with open_npz(path, _NPZ_FORM) as archive:
        names = (name.format(split=s) for s in _SPLITS for name in _NPZ_NAMES["labels"])
        return any(name in archive for name in names)


def npz_splits(path: Path) -> tuple[str, ...]:
    """Which of "train", "val" and "test" an npz file holds images of.

    Raises:
        DataError: if it is not an npz file.
    """
    with open_npz(path, _NPZ_FORM) as archive:
        return tuple(
            split
            for split in _SPLITS
            if any(name.format(split=split) in archive for name in _NPZ_NAMES["images"])
        )


READERS: dict[Reader, Callable[[Sequence[Path], str], Arrays]] = {
    "npz": read_npz,
    "idx": read_idx,
    "cifar-binary": read_cifar_binary,
    "cifar-parquet": read_cifar_parquet,
}


def _paired(images: NDArray[np.uint8], labels: NDArray[Any], path: Path) -> Arrays:
    """Contiguous, writable images (as torch wants them) and int64 labels (N,).

    Raises:
        DataError: if there is not one integer label an image, from 0 to 65,535.
    """
    if labels.size != len(images) or not np.issubdtype(labels.dtype, np.integer):
        raise unreadable(
            path, f"{len(images):,} whole-number labels", f"{labels.dtype} {labels.shape}"
        )
    # A count of each class takes memory up to the largest label.
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > _LARGEST_LABEL:
        raise unreadable(
            path, f"labels from 0 to {_LARGEST_LABEL:,}", f"labels from {low:,} to {high:,}"
        )
    return np.require(images, requirements=("C", "W")), labels.reshape(-1).astype(np.int64)


def _idx_array(path: Path) -> NDArray[np.uint8]:
    """Reads an IDX array of bytes: two zeros, type 8, the number of dimensions, the dimensions as
    big-endian 32-bit integers, then the data."""
    form = "an IDX file of bytes"
    head = read_bytes(path, form, 4 + 4 * 255)
    if len(head) < 4 or head[:3] != b"\x00\x00\x08":
        raise unreadable(path, form, f"a file that begins with {head[:4]!r}")
    start = 4 + 4 * head[3]
    shape = [int(size) for size in np.frombuffer(head[4:start][: (len(head) - 4) // 4 * 4], ">u4")]
    size = math.prod(shape)
    # One byte more than expected, to notice a file that is too long.
    content = read_bytes(path, form, start + size + 1)
    if len(shape) != head[3] or len(content) - start != size:
        there = f"{max(len(content) - start, 0):,}"
        more = " or more" if len(content) - start > size else ""
        raise unreadable(path, f"{form}: {size:,} of shape {shape}", f"{there}{more} bytes")
    return np.frombuffer(content, np.uint8, count=size, offset=start).reshape(shape)


def _member(archive: Archive, kind: str, split: str) -> NDArray[Any]:
    """The images or labels of a split, under either of their names."""
    names = [name.format(split=split) for name in _NPZ_NAMES[kind]]
    return archive.array(next((name for name in names if name in archive), names[0]))
