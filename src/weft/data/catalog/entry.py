"""What is known of a data set without opening it: its files, checksums, mirrors and licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Reader = Literal[
    "npz", "idx", "cifar-binary", "cifar-parquet", "ts", "scp1-npz", "ett-csv", "text", "ranks",
    "pictures", "picture-tar",
]  # fmt: skip
Kind = Literal["images", "series", "text", "pictures"]


@dataclass(frozen=True)
class File:
    """One file of a set.

    Attributes:
        path: its path below a data folder, and below the cache.
        size: bytes.
        sha256: checksum, hexadecimal.
        urls: mirrors, tried in order; empty if it cannot be downloaded.
        packaged: whether it ships with weft, in `weft/data`.
    """

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...] = ()
    packaged: bool = False

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Form:
    """One way a set is stored, complete in itself.

    Attributes:
        title: what to call results on it; forms may differ in their pixels.
        reader: which reader of `weft.data.formats`, `series` or `albums` understands it.
        splits: split -> the files that hold it, in the order the reader wants them.
        keep_decoded: whether decoding is slow enough to keep the arrays in the cache.
    """

    title: str
    reader: Reader
    splits: Mapping[str, tuple[File, ...]]
    keep_decoded: bool = False

    @property
    def files(self) -> tuple[File, ...]:
        """Every file once, whichever splits it holds."""
        return tuple(dict.fromkeys(file for files in self.splits.values() for file in files))

    @property
    def downloadable(self) -> bool:
        """Whether every file has a mirror."""
        return all(file.urls for file in self.files)


@dataclass(frozen=True)
class DataSet:
    """What is known of a set without opening it; the checksums of its files vouch for it.

    Attributes:
        name: the word users type.
        shape: (channels, height, width) of an image, (steps, channels) of a series, () of text
            and of pictures that differ in size.
        classes: class names, by label; none where there are no labels.
        sizes: split -> number of images, series or documents; rows of a series that is cut up.
        class_counts: training items of each class.
        forms: ways it may be stored, the preferred first.
        licence, citation: what to respect and whom to cite.
        refused: file name -> why weft does not read that form of the set.
        kind: what its items are; "images" have labels and one size, "pictures" may lack both.
        ragged: whether the series differ in length; `shape` then gives the longest.
    """

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    sizes: Mapping[str, int]
    class_counts: tuple[int, ...]
    forms: tuple[Form, ...]
    licence: str
    citation: str
    refused: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "images"
    ragged: bool = False
