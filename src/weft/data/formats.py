"""Readers: files of images and labels to arrays; nothing in a file is ever executed."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from weft.config.sections import Layout
from weft.data.catalog.entry import Reader
from weft.data.gate import channels_last
from weft.errors import DataError, MissingExtra

#: images uint8 (N, C, H, W) and labels int64 (N,)
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]

_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_MEMBERS = {
    "train": tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("cifar-10-batches-bin/test_batch.bin",),
}
_NPZ_NAMES = {"images": ("{split}_images", "x_{split}"), "labels": ("{split}_labels", "y_{split}")}


def read_idx(paths: Sequence[Path], split: str) -> Arrays:
    """MNIST's form: a gzipped IDX file of images and one of labels.

    Args:
        paths: the images' file, then the labels'.
        split: not needed: a split has files of its own.
    Raises:
        DataError: a file is no gzipped IDX file of bytes, or the two do not fit together.
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
        paths: cifar-10-binary.tar.gz alone.
        split: "train" (five members) or "test" (one).
    Raises:
        DataError: the archive is no such archive, or a member is cut short.
    """
    record = 1 + int(np.prod(_CIFAR_SHAPE))
    [path] = paths
    try:
        with tarfile.open(path, "r:gz") as archive:
            streams = [archive.extractfile(name) for name in _CIFAR_MEMBERS[split]]
            content = b"".join(stream.read() for stream in streams if stream)
    except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
        raise _unreadable(path, "the archive cifar-10-binary.tar.gz", error) from error
    if len(content) % record:
        raise _unreadable(path, f"records of {record:,} bytes", f"{len(content):,} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return _paired(records[:, 1:].reshape(-1, *_CIFAR_SHAPE), records[:, 0], path)


def read_cifar_parquet(paths: Sequence[Path], split: str) -> Arrays:
    """CIFAR-10 as parquet: a column `img` of encoded pictures, a column `label`.

    Args:
        paths: the split's parquet file.
        split: not needed: a split has a file of its own.
    Raises:
        MissingExtra: pyarrow is not installed.
        DataError: the file is no such parquet file.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", "reading CIFAR-10 from parquet files") from error
    from PIL import Image, UnidentifiedImageError

    [path] = paths
    try:
        table = pyarrow.parquet.read_table(path, columns=["img", "label"])
        pictures = table["img"].combine_chunks().field("bytes")
        images = np.empty((len(pictures), *_CIFAR_SHAPE), np.uint8)
        for index, picture in enumerate(pictures):
            with Image.open(io.BytesIO(picture.as_py())) as image:
                images[index] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        labels = table["label"].to_numpy()
    except (pyarrow.ArrowException, UnidentifiedImageError, KeyError, ValueError) as error:
        raise _unreadable(path, "parquet with columns `img` and `label`", error) from error
    return _paired(images, labels, path)


def read_npz(paths: Sequence[Path], split: str, layout: Layout | None = None) -> Arrays:
    """One npz file of all splits: arrays `<split>_images` and `<split>_labels`.

    Keras' names `x_<split>` and `y_<split>` are understood as well. Images are uint8, (N, H, W),
    (N, C, H, W) or (N, H, W, C); labels (N,) or (N, 1).

    Args:
        paths: the file alone.
        split: "train", "val" or "test".
        layout: which axis of four is that of channels; see `gate.channels_last`.
    Raises:
        DataError: no npz file, pickled objects in it, no such split, or arrays of another form.
    """
    [path] = paths
    with _open_npz(path) as archive:
        images = _member(archive, path, "images", split)
        labels = _member(archive, path, "labels", split)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise _unreadable(
            path,
            f"the images of `{split}` as uint8 (N, H, W), (N, C, H, W) or (N, H, W, C)",
            f"{images.dtype} {images.shape}",
        )
    if images.ndim == 3:
        images = images[:, None]
    elif channels_last(images.shape, layout, str(path)):
        images = images.transpose(0, 3, 1, 2)
    return _paired(images, labels, path)


def npz_splits(path: Path) -> tuple[str, ...]:
    """The splits that an npz file holds, of "train", "val" and "test".

    Raises:
        DataError: no npz file.
    """
    with _open_npz(path) as archive:
        return tuple(
            split
            for split in ("train", "val", "test")
            if any(name.format(split=split) in archive for name in _NPZ_NAMES["images"])
        )


READERS: dict[Reader, Callable[[Sequence[Path], str], Arrays]] = {
    "npz": read_npz,
    "idx": read_idx,
    "cifar-binary": read_cifar_binary,
    "cifar-parquet": read_cifar_parquet,
}


def _unreadable(path: Path, expected: str, found: object) -> DataError:
    return DataError(
        f"{path.name} cannot be read", where=str(path), expected=expected, hint=f"found: {found}"
    )


def _paired(images: NDArray[np.uint8], labels: NDArray[Any], path: Path) -> Arrays:
    """Images contiguous and writable (as torch wants them) and int64 labels, one per image."""
    if labels.size != len(images) or not np.issubdtype(labels.dtype, np.integer):
        raise _unreadable(
            path, f"{len(images):,} whole-number labels", f"{labels.dtype} {labels.shape}"
        )
    return np.require(images, requirements=("C", "W")), labels.reshape(-1).astype(np.int64)


def _idx_array(path: Path) -> NDArray[np.uint8]:
    """An IDX array of bytes: two zeros, type 8, the number of dimensions, each as big-endian."""
    form = "a gzipped IDX file of bytes"
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, form, error) from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise _unreadable(path, form, f"a file that begins with {content[:4]!r}")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], ">u4")
    if len(content) - start != shape.prod(dtype=np.int64):
        raise _unreadable(path, f"{form}, shape {shape.tolist()}", f"{len(content) - start} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


@contextmanager
def _open_npz(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of an npz file, read one by one when asked for."""
    with path.open("rb") as stream:
        try:
            archive = np.load(stream, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _unreadable(path, "an npz file", error) from error
        if not isinstance(archive, NpzFile):
            raise _unreadable(path, "an npz file", "a single array")
        with archive:
            yield archive


def _member(archive: Mapping[str, NDArray[Any]], path: Path, kind: str, split: str) -> NDArray[Any]:
    """The images or labels of a split, under whichever of its names they have."""
    names = [name.format(split=split) for name in _NPZ_NAMES[kind]]
    for name in names:
        if name in archive:
            try:
                return archive[name]
            except (ValueError, zipfile.BadZipFile) as error:
                raise _unreadable(path, "arrays without pickled objects", error) from error
    raise _unreadable(path, f"an array `{names[0]}`", f"arrays {', '.join(archive)}")
