"""Sizes that a file claims are held against it: bombs and lies take no memory."""

from __future__ import annotations

import gzip
import io
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from weft.data.content import read_lines, read_text
from weft.data.formats import read_idx, read_npz
from weft.data.npz import open_npz
from weft.errors import DataError, MissingData
from weft.families.feedback.sets.corpus import objects, paragraphs


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """No test here may take more than 1 GB beyond what the process has."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_an_idx_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    lie = b"\0\0\x08\x03" + np.array((2**31, 2**31, 28), ">u4").tobytes() + bytes(100)
    for name, content in {"a": lie, "a.gz": gzip.compress(lie)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read") as caught:
            read_idx([tmp_path / name] * 2, "train")
        assert "100 bytes" in str(caught.value)


def test_a_plain_idx_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0\0\x08\x03" + np.array((2, 2, 2), ">u4").tobytes() + bytes(8))
    (tmp_path / "y").write_bytes(b"\0\0\x08\x01" + np.array((2,), ">u4").tobytes() + bytes(2))
    images, labels = read_idx([tmp_path / "x", tmp_path / "y"], "train")
    assert (images.shape, labels.tolist()) == ((2, 1, 2, 2), [0, 0])


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    with gzip.open(path, "wb") as stream:
        for _ in range(80):
            stream.write(bytes(2**20))
    with pytest.raises(DataError) as caught:
        read_text(path)
    assert "times as many bytes" in caught.value.expected
    assert caught.value.exit_code == 2


def _member(path: Path, shape: tuple[int, ...], content: bytes) -> Path:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", stream.getvalue() + content)
    return path


@pytest.mark.parametrize("shape", [(2**40,), (2**31, 2**31, 2**31), (3,), (-1, -8)])
def test_an_array_whose_header_does_not_fit_its_bytes_is_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = _member(tmp_path / "a.npz", shape, bytes(64))
    with open_npz(path) as archive, pytest.raises(DataError) as caught:
        archive.array("x")
    assert (caught.value.where, caught.value.exit_code) == (f"{path}, array `x`", 2)


def test_an_npz_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("x.npy", "w") as out:
        npy.write_array_header_1_0(
            out, {"shape": (80 * 2**20,), "fortran_order": False, "descr": "|u1"}
        )
        for _ in range(80):
            out.write(bytes(2**20))
    with open_npz(path) as archive, pytest.raises(DataError) as caught:
        archive.array("x")
    assert "unpacked" in caught.value.expected


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_npz_compressed_otherwise_than_numpy_does_is_refused(
    method: int, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as file:
        file.writestr("x.npy", bytes(100))
    with open_npz(tmp_path / "a.npz") as archive, pytest.raises(DataError):
        archive.array("x")


@pytest.mark.parametrize("label", [-1, 10**9])
def test_labels_that_would_take_memory_are_refused(label: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.zeros((1, 2, 2), np.uint8), y_train=np.array([label]))
    with pytest.raises(DataError) as caught:
        read_npz([tmp_path / "a.npz"], "train")
    assert f"{label:,}" in caught.value.hint


def test_text_is_read_without_its_mark_and_with_any_line_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo\r\rthree\n")
    assert paragraphs(read_text(path), path) == ["one", "two", "three"]
    assert read_lines(path) == ["one", "", "two", "", "three"]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"one\ncaf\xe9\n", 2, "Latin-1"),
        (b"one\rtwo\rcaf\xe9", 3, "Latin-1"),
        ("one".encode("utf-16"), 1, "UTF-16"),
        (b"one\n\0", 2, "zero byte"),
    ],
)
def test_text_that_is_not_utf_8_is_told_with_its_line(
    content: bytes, line: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_text(path)
    assert caught.value.where == f"{path}:{line}"
    assert said in caught.value.hint


def test_json_lines_are_documents_or_told_what_they_need(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert objects('{"text": "one"}\n{"text": "two"}\n', path) == ["one", "two"]
    assert objects('{"question": "q", "answer": "a"}', path) == ["Question: q\nAnswer: a"]
    with pytest.raises(DataError) as caught:
        objects('{"body": "one"}\n', path)
    assert caught.value.where == str(path)
    assert "`data.field=body`" in caught.value.hint


def test_bad_data_are_bad_input_and_missing_data_a_failure() -> None:
    assert (DataError("").exit_code, MissingData("").exit_code) == (2, 1)
