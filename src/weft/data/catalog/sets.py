"""The catalogue: all data sets that weft knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import isdir
from pathlib import Path

from weft.config.explain import suggest
from weft.data.catalog.entry import DataSet, Kind
from weft.data.catalog.images import IMAGES
from weft.data.catalog.pictures import PICTURES
from weft.data.catalog.series import SERIES
from weft.data.catalog.texts import TEXTS
from weft.errors import UsageError
from weft.shell import spelt

SETS: Mapping[str, DataSet] = {
    data_set.name: data_set for data_set in (*IMAGES, *SERIES, *TEXTS, *PICTURES)
}


def find(name: str, kind: Kind | None = None) -> DataSet:
    """The set called `name`; with `kind`, only among sets of that kind.

    Raises:
        UsageError: if there is none; the closest name is suggested.
    """
    known = [data_set.name for data_set in SETS.values() if kind in (None, data_set.kind)]
    if name in known:
        return SETS[name]
    pack = spelt("data", "pack", Path(name), "--out", "FILE.npz")
    packing = f"`{pack}` makes one of the pictures in this folder"
    raise UsageError(
        f"there is no {'data set' if kind is None else f'set of {kind}'} `{name}`",
        expected=f"one of {', '.join(known)}, or the path of a file that ends in .npz",
        hint=suggest(name, known, packing if kind == "images" and isdir(name) else ""),
    )
