"""Arrays of npz files; each header is checked against the file before memory is taken."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from weft.data.guard import check_inflation, parsing, unreadable

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NUMBERS = "biuf"


class Archive:
    """An open npz file.

    Args:
        file: the zip file.
        path: where it lies.
        expected: what it should hold, for errors.
    """

    def __init__(self, file: zipfile.ZipFile, path: Path, expected: str) -> None:
        self.path, self.expected = path, expected
        self._file = file
        self._members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def array(self, name: str, kinds: str = _NUMBERS) -> NDArray[Any]:
        """The array called `name`.

        Args:
            name: one of `names`.
            kinds: allowed `dtype.kind` letters; by default those of numbers.

        Raises:
            DataError: if there is no such array, it is damaged, or of another kind.
        """
        where = f"{self.path}, array `{name}`"
        if name not in self._members:
            there = ", ".join(self.names[:20]) or "none"
            raise unreadable(self.path, self.expected, f"no array `{name}`; there are: {there}")
        info = self._members[name]
        if info.compress_type not in _COMPRESSIONS or info.flag_bits & 1:
            raise self._bad(where, "encrypted, or compressed in a way that numpy does not write")
        check_inflation(info.file_size, info.compress_size, where)
        with parsing(where, self.expected, self.path.name), self._file.open(info) as stream:
            shape, dtype = _header(stream)
            length = math.prod(shape) * dtype.itemsize
            if dtype.kind not in kinds:
                raise self._bad(where, f"{'pickled objects' if dtype.hasobject else dtype}")
            if min(shape, default=0) < 0 or stream.tell() + length != info.file_size:
                raise self._bad(
                    where, f"a header of {dtype} {shape} and {info.file_size:,} bytes in all"
                )
            stream.seek(0)
            return npy.read_array(stream, allow_pickle=False)

    def arrays(self, kinds: str = _NUMBERS) -> dict[str, NDArray[Any]]:
        """All arrays by name; `kinds` as for `array`."""
        return {name: self.array(name, kinds) for name in self.names}

    def _bad(self, where: str, found: str) -> Exception:
        return unreadable(where, self.expected, found, what=self.path.name)


@contextmanager
def open_npz(path: Path, expected: str = "an npz file of arrays") -> Iterator[Archive]:
    """Opens an npz file, whose arrays are read on demand; objects are never unpickled.

    Args:
        path: the file.
        expected: what it should hold, for errors.

    Raises:
        DataError: if it is not an npz file.
    """
    with parsing(path, expected):
        file = zipfile.ZipFile(path)
    with file:
        yield Archive(file, path, expected)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of the array that begins here; moves the stream past the header."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype
