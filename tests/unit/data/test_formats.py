"""Each reader gives back what was written in its format, and refuses anything else in words."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weft.data.formats import (
    Arrays,
    npz_splits,
    read_cifar_binary,
    read_cifar_parquet,
    read_idx,
    read_npz,
)
from weft.errors import DataError, MissingExtra


def _random(count: int, *shape: int) -> Arrays:
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, *shape), np.uint8)
    return images, random.integers(0, 10, count).astype(np.int64)


def _idx(array: np.ndarray[Any, Any]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def _write_idx(folder: Path, images: bytes, labels: bytes) -> list[Path]:
    paths = [folder / "images.gz", folder / "labels.gz"]
    for path, content in zip(paths, (images, labels), strict=True):
        path.write_bytes(gzip.compress(content))
    return paths


def _write_cifar(path: Path, members: dict[str, bytes]) -> list[Path]:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return [path]


def _same(found: Arrays, expected: Arrays) -> None:
    images, labels = found
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert images.flags.c_contiguous
    assert images.flags.writeable
    np.testing.assert_array_equal(images, expected[0])
    np.testing.assert_array_equal(labels, expected[1])


def test_idx_gives_back_images_and_labels(tmp_path: Path) -> None:
    images, labels = _random(7, 1, 5, 4)
    paths = _write_idx(tmp_path, _idx(images[:, 0]), _idx(labels))
    _same(read_idx(paths, "train"), (images, labels))


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (b"", "begins with"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "begins with"),
        (_idx(np.zeros((2, 3, 3)))[:-1], "17 bytes"),
        (_idx(np.zeros((2, 3, 3))) + b"\x00", "19 or more bytes"),
        (_idx(np.zeros(2)), "1 and 1 dimensions"),
        (_idx(np.zeros((3, 3, 3))), "int64|uint8"),
    ],
    ids=["empty", "floats", "short", "long", "flat", "unpaired"],
)
def test_a_wrong_idx_file_is_refused(images: bytes, reason: str, tmp_path: Path) -> None:
    paths = _write_idx(tmp_path, images, _idx(np.zeros(2)))
    with pytest.raises(DataError) as caught:
        read_idx(paths, "train")
    assert any(part in str(caught.value) for part in reason.split("|"))


def test_a_file_that_is_not_gzip_or_cut_short_is_refused(tmp_path: Path) -> None:
    images, labels = _write_idx(tmp_path, _idx(np.zeros((2, 3, 3))), _idx(np.zeros(2)))
    whole = images.read_bytes()
    for content in (whole[:-9], b"plain text", b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20):
        images.write_bytes(content)
        with pytest.raises(DataError, match=r"images\.gz cannot be read"):
            read_idx([images, labels], "train")


def test_cifar_binary_joins_the_batches_of_a_split_in_order(tmp_path: Path) -> None:
    images, labels = _random(12, 3, 32, 32)
    records = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(12, -1)], 1)
    members = {f"data_batch_{i + 1}.bin": records[2 * i : 2 * i + 2].tobytes() for i in range(5)}
    paths = _write_cifar(
        tmp_path / "c.tar.gz", {**members, "test_batch.bin": records[10:].tobytes()}
    )
    _same(read_cifar_binary(paths, "train"), (images[:10], labels[:10]))
    _same(read_cifar_binary(paths, "test"), (images[10:], labels[10:]))


def test_a_wrong_cifar_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.tar.gz"
    short = _write_cifar(path, {"test_batch.bin": bytes(3073 + 3072)})
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_cifar_binary(short, "test")
    assert "records of 3,073 bytes" in caught.value.expected
    with pytest.raises(DataError, match="cannot be read"):
        read_cifar_binary(short, "train")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_cifar_binary([path], "test")


def _write_parquet(path: Path, pictures: list[bytes], labels: list[int]) -> list[Path]:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    import pyarrow.parquet as parquet

    rows = [{"bytes": picture, "path": ""} for picture in pictures]
    parquet.write_table(pyarrow.table({"img": rows, "label": labels}), path, row_group_size=2)
    return [path]


def test_cifar_parquet_decodes_pictures_to_channels_first(tmp_path: Path) -> None:
    images, labels = _random(5, 3, 32, 32)
    pictures = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(stream, "PNG")
        pictures.append(stream.getvalue())
    paths = _write_parquet(tmp_path / "c.parquet", pictures, labels.tolist())
    _same(read_cifar_parquet(paths, "train"), (images, labels))


def test_wrong_parquet_is_refused(tmp_path: Path) -> None:
    paths = _write_parquet(tmp_path / "c.parquet", [b"no picture"], [1])
    with pytest.raises(DataError, match="cannot be read"):
        read_cifar_parquet(paths, "train")
    paths[0].write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_cifar_parquet(paths, "train")


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as caught:
        read_cifar_parquet([tmp_path / "c.parquet"], "train")
    assert caught.value.hint == "pip install 'weft[parquet]'"


@pytest.mark.parametrize("names", ["{split}_{kind}", "{short}_{split}"])
@pytest.mark.parametrize("layout", ["grey", "first", "last"])
def test_npz_understands_both_names_and_all_layouts(
    names: str, layout: str, tmp_path: Path
) -> None:
    images, labels = _random(6, 1 if layout == "grey" else 3, 8, 8)
    stored = {"grey": images[:, 0], "first": images, "last": images.transpose(0, 2, 3, 1)}[layout]
    arrays = {"images": stored, "labels": labels[:, None].astype(np.uint8)}
    short = {"images": "x", "labels": "y"}
    np.savez_compressed(
        tmp_path / "a.npz",
        **{names.format(split="val", kind=k, short=short[k]): v for k, v in arrays.items()},
    )
    _same(read_npz([tmp_path / "a.npz"], "val"), (images, labels))
    assert npz_splits(tmp_path / "a.npz") == ("val",)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"train_images": np.zeros((2, 3, 3), np.float32)}, "float32"),
        ({"train_images": np.zeros((2, 9), np.uint8)}, "(2, 9)"),
        ({"train_labels": np.zeros(3, np.int64)}, "(3,)"),
        ({"train_labels": np.zeros(2)}, "float64"),
        ({"train_images": np.array([{}, {}])}, "pickle"),
    ],
    ids=["float", "flat", "unpaired", "real labels", "pickled"],
)
def test_a_wrong_npz_file_is_refused(arrays: dict[str, Any], reason: str, tmp_path: Path) -> None:
    good = {"train_images": np.zeros((2, 3, 3), np.uint8), "train_labels": np.zeros(2, np.int64)}
    np.savez(tmp_path / "a.npz", **{**good, **arrays})
    with pytest.raises(DataError) as caught:
        read_npz([tmp_path / "a.npz"], "train")
    assert reason in str(caught.value)


def test_an_npz_without_the_split_or_no_npz_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, other=np.zeros(1))
    with pytest.raises(DataError) as caught:
        read_npz([path], "test")
    assert "`test_images`" in str(caught.value)
    path.write_bytes(b"no zip file")
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        npz_splits(path)
