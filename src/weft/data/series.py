"""Readers of series: UEA/UCR `.ts` files, the ETT tables, and both by the name of their set."""

# N series, T steps, d channels

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.data import fetch, gate
from weft.data.catalog.sets import find
from weft.data.content import read_lines
from weft.data.guard import unreadable
from weft.data.npz import open_npz
from weft.data.table import read_ett
from weft.data.used import note
from weft.errors import MissingData

_FLAGS = ("@timestamps", "@missing", "@univariate", "@equallength")
_COMMENTS = ("#", "%")
_COUNTS = ("@dimensions", "@serieslength")


@dataclass(frozen=True)
class SeriesSet:
    """Labelled series of one split.

    Attributes:
        series: float32 arrays (T_i, d), which may differ in length.
        labels: int64 (N,), indices into `classes`.
        classes: class names.
    """

    series: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.series)

    @property
    def steps(self) -> int:
        """Length of the longest series."""
        return max(len(one) for one in self.series)

    @property
    def channels(self) -> int:
        """Number of channels d."""
        return int(self.series[0].shape[1])

    @property
    def ragged(self) -> bool:
        """Whether lengths differ."""
        return len({len(one) for one in self.series}) > 1


def load_series(
    name: str, split: str, *, root: str | Path | None = None, download: bool = True
) -> SeriesSet:
    """The series of a split of a set of the catalogue, verified against its checksums.

    Args:
        name: a labelled set of `weft.data.catalog.series`.
        split: "train" or "test".
        root: folder to look in before $WEFT_DATA and the cache.
        download: whether missing files may be downloaded to the cache.

    Raises:
        UsageError: if there is no such set.
        DataError: if a file is missing, damaged, out of reach or of another form.
    """
    known = find(name, "series")
    form, [path] = fetch.require(name, split, root=root, download=download)
    found = read_scp1(path, split) if form.reader == "scp1-npz" else read_ts(path)
    gate.keep_promise(
        f"{name} {split}",
        {"series": len(found), "channels": found.channels, "classes": sorted(found.classes)},
        {
            "series": known.sizes[split],
            "channels": known.shape[1],
            "classes": sorted(known.classes),
        },
    )
    return found


def matched(
    parts: Mapping[str, SeriesSet], where: str, *, pooled: bool = False
) -> dict[str, SeriesSet]:
    """The splits of a set, checked, with labels that mean the same class in all of them.

    Args:
        parts: split -> its series, "train" first; the order of classes may differ.
        where: the set they are from.
        pooled: whether the splits will be mixed, so that each may have classes the others lack.

    Raises:
        DataError: if channels differ, or a split has a class without training items.
    """
    gate.hold(
        {
            split: gate.Part(len(one), {"channels": one.channels} if len(one) else {})
            for split, one in parts.items()
        },
        where,
    )
    named = {split: (one.labels, one.classes) for split, one in parts.items()}
    labels, classes = gate.numbered(named, where, pooled=pooled)
    return {
        split: replace(one, labels=labels[split], classes=classes) for split, one in parts.items()
    }


def load_table(
    name: str, *, root: str | Path | None = None, download: bool = True
) -> NDArray[np.float32]:
    """All rows of an ETT set of the catalogue, float32 (R, 7), verified; see `read_ett`."""
    known = find(name, "series")
    _, [path] = fetch.require(name, "train", root=root, download=download)
    table = read_ett(path)
    gate.keep_promise(name, {"rows": len(table)}, {"rows": known.shape[0]})
    return table


def find_file(names: tuple[str, ...], *, root: str | Path | None, expected: str) -> Path:
    """The path of the first of `names` that is below a data folder, noted as used by the run.

    For files that the catalogue does not list.

    Raises:
        MissingData: if there is none; lists every path that was tried.
    """
    looked = [folder / name for folder in fetch.places(root) for name in names]
    for path in looked:
        if path.is_file():
            note(path)
            return path
    raise MissingData(
        f"{Path(names[0]).name} is not here",
        expected=expected,
        hint=f"{fetch.looked_for(looked)}\n"
        "by hand, put it in one of these places: weft knows no checksum or mirror of it",
    )


def read_ts(path: Path) -> SeriesSet:
    """Reads a `.ts` file: lines `@key value`, then, after `@data`, one series a line.

    Channels are separated by `:` and values by `,`; the class comes last.

    Raises:
        DataError: naming the line that is malformed, or holds a missing or non-numeric value.
    """
    header: dict[str, list[str]] = {}
    series: list[NDArray[np.float32]] = []
    labels: list[int] = []
    for number, raw in enumerate(read_lines(path), start=1):
        line, where = raw.strip(), f"{path}:{number}"
        if not line or line.startswith(_COMMENTS):
            continue
        if "@data" in header:
            one, label = _case(line, header, where)
            series.append(one)
            labels.append(label)
        elif line.startswith("@"):
            key, *values = line.split()
            key = key.lower()
            if key in header:
                raise unreadable(where, f"`{key}` once", "it stands above as well")
            header[key] = values
            _check_line(key, values, where)
            if key == "@data":
                _check_header(header, where)
        else:
            raise unreadable(where, "a line `@key value`, or `@data`", line)
    if not series:
        raise unreadable(str(path), "series after a line `@data`", "none")
    if len({one.shape[1] for one in series}) > 1:
        found = sorted({one.shape[1] for one in series})
        raise unreadable(str(path), "as many channels in every series", f"{found}")
    return SeriesSet(tuple(series), np.array(labels, np.int64), tuple(_classes(header)))


def read_scp1(path: Path, split: str) -> SeriesSet:
    """Reads SelfRegulationSCP1 from npz: `X_<split>` (N, d, T), `y_<split>` (N,) and `classes`.

    Raises:
        DataError: if the file is not such an npz file.
    """
    form = f"an npz file of X_{split} (N, d, T), y_{split} (N,) and classes"
    with open_npz(path, form) as archive:
        values, labels = archive.array(f"X_{split}"), archive.array(f"y_{split}", "iu")
        classes = archive.array("classes", "U")
    if values.ndim != 3 or labels.shape != values.shape[:1] or classes.ndim != 1:
        raise unreadable(path, form, f"shapes {values.shape}, {labels.shape} and {classes.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(classes):
        raise unreadable(path, f"labels below {len(classes)}", f"{labels.min()}…{labels.max()}")
    require_finite(values, path)
    series = np.ascontiguousarray(values.transpose(0, 2, 1), np.float32)
    return SeriesSet(tuple(series), labels.astype(np.int64), tuple(map(str, classes)))


def require_finite(values: NDArray[Any], path: Path) -> None:
    """Refuses NaN, infinity, and what is infinity in 32 bits, as which values are taken.

    Raises:
        DataError: naming the index of the first such value.
    """
    with np.errstate(over="ignore"):
        wrong = ~np.isfinite(values.astype(np.float32))
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        wanted = "finite numbers only" + ", of 32 bits" * bool(np.isfinite(values[index]))
        raise unreadable(str(path), wanted, f"{values[index]} at index {index}")


def _check_line(key: str, values: list[str], where: str) -> None:
    """Refuses a line of the header whose value is missing or malformed."""
    found = f"`{' '.join((key, *values))}`"
    if key in (*_FLAGS, "@classlabel") and (values or [""])[0].lower() not in ("true", "false"):
        raise unreadable(where, f"`{key} true` or `{key} false`", found)
    if key in _COUNTS and not (len(values) == 1 and values[0].isdecimal() and len(values[0]) < 10):
        raise unreadable(where, f"`{key}` and a whole number", found)
    if key == "@classlabel" and len(set(values[1:])) < len(values[1:]):
        raise unreadable(where, "class names, each once", found)


def _check_header(header: Mapping[str, list[str]], where: str) -> None:
    """Refuses `.ts` files with time stamps or without classes."""
    if header.get("@timestamps", ["false"])[0].lower() == "true":
        raise unreadable(where, "values without time stamps", "@timeStamps true")
    if not _classes(header):
        raise unreadable(where, "`@classLabel true` and the class names", "no classes")


def _classes(header: Mapping[str, list[str]]) -> list[str]:
    given = header.get("@classlabel", [])
    return given[1:] if given and given[0].lower() == "true" else []


def _case(
    line: str, header: Mapping[str, list[str]], where: str
) -> tuple[NDArray[np.float32], int]:
    """The series (T, d) and the class of one line."""
    *channels, label = line.split(":")
    label = label.strip()
    classes = _classes(header)
    if label not in classes:
        raise unreadable(where, f"a class at the end: {', '.join(classes)}", f"`{label[:40]}`")
    wanted = int(header["@dimensions"][0]) if "@dimensions" in header else None
    if not channels or (wanted is not None and len(channels) != wanted):
        raise unreadable(where, f"{wanted or 'some'} channels", f"{len(channels)}")
    try:
        values = [np.array(channel.split(","), np.float32) for channel in channels]
    except ValueError as error:
        expected = "numbers between commas (`?` marks a missing value, which weft does not fill in)"
        raise unreadable(where, expected, error) from error
    lengths = sorted({len(channel) for channel in values})
    if len(lengths) > 1:
        raise unreadable(where, "channels of one length", f"lengths {lengths}")
    series = np.stack(values, 1)
    if not np.isfinite(series).all():
        raise unreadable(where, "finite numbers only", "NaN or infinity")
    return series, classes.index(label)
