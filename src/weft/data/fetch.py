"""Finds the files of a data set, verifies their checksums, and downloads what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from weft.atomic import by_umask
from weft.data.cache import cache_folder
from weft.data.catalog.entry import DataSet, File, Form
from weft.data.catalog.sets import find
from weft.data.used import checksum_of, note
from weft.errors import DataError, MissingData
from weft.system import is_of_the_disk

Progress = Callable[[str, int, int], None]
"""Called with (file name, bytes so far, bytes in all) while a file is downloaded."""


@dataclass(frozen=True)
class FileStatus:
    """Where one file of a set is.

    Attributes:
        file: the file as the catalogue describes it.
        looked: every path where it was looked for, in order.
        path: the first of them that exists, or None.
        state: "present" until the checksum is verified, then "ok" or "damaged".
        found: SHA-256 of the file at `path`, once verified.
    """

    file: File
    looked: tuple[Path, ...]
    path: Path | None = None
    state: Literal["missing", "present", "ok", "damaged"] = "missing"
    found: str = ""


@dataclass(frozen=True)
class Location:
    """Where a set is: the form that would be read, and where each of its files is."""

    data_set: DataSet
    form: Form
    files: tuple[FileStatus, ...]

    @property
    def complete(self) -> bool:
        """Whether no file is missing."""
        return all(status.path for status in self.files)

    @property
    def intact(self) -> bool:
        """Whether every file was verified and matches its checksum."""
        return all(status.state == "ok" for status in self.files)


def places(root: str | Path | None = None) -> tuple[Path, ...]:
    """The folders that are searched for data, in order: `root`, $WEFT_DATA, the cache.

    Raises:
        DataError: if `root` or $WEFT_DATA is not a folder.
    """
    named = (("data.root", root), ("$WEFT_DATA", os.environ.get("WEFT_DATA")))
    folders = [(origin, Path(given).expanduser()) for origin, given in named if given]
    for origin, folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"`{folder}` is no folder", where=origin, expected="the folder that holds the data"
            )
    return (*(folder for _, folder in folders), cache_folder())


def locate(name: str, *, root: str | Path | None = None) -> Location:
    """Where the files of the set `name` are, without reading them.

    The form is the first that is complete, else the first that can be downloaded.

    Raises:
        UsageError: if there is no such set.
        DataError: if `root` or $WEFT_DATA is not a folder.
    """
    data_set = find(name)
    options = [
        Location(data_set, form, tuple(_look(data_set, file, root) for file in form.files))
        for form in data_set.forms
    ]
    preferred = [
        *(option for option in options if option.complete),
        *(option for option in options if option.form.downloadable),
        *options,
    ]
    return preferred[0]


def check(name: str, *, root: str | Path | None = None) -> Location:
    """As `locate`, with the checksums of all files that are there verified."""
    location = locate(name, root=root)
    return replace(location, files=tuple(_verify(status) for status in location.files))


def get(name: str, *, root: str | Path | None = None, progress: Progress | None = None) -> Location:
    """Downloads the missing files of the set `name` to `root`, or to the cache if it is None.

    Raises:
        DataError: if a file cannot be downloaded, or one that is there is damaged.
    """
    location = locate(name, root=root)
    target = Path(root).expanduser() if root else cache_folder()
    for status in location.files:
        if status.path is None:
            _download(location, status, target, progress)
        else:
            _intact(location, status)
    return check(name, root=root)


def expect(name: str, *, root: str | Path | None = None, download: bool = True) -> Location:
    """Where the files of the set `name` are, or will be once missing ones have been downloaded.

    Args:
        name: a set of the catalogue.
        root: folder to look in before $WEFT_DATA and the cache.
        download: whether missing files may be downloaded.

    Raises:
        UsageError: if there is no such set.
        DataError: if a file is missing and will not be downloaded.
    """
    location = locate(name, root=root)
    if not location.complete:
        if not download:
            raise _missing(location, "downloading is switched off (data.download=false)")
        if not location.form.downloadable:
            raise _missing(location)
    for status in location.files:
        # Files are verified before they are read, so the catalogue's checksum holds for them.
        note(status.path or status.looked[0], status.file.path, status.file.sha256)
    return location


def require(
    name: str, split: str, *, root: str | Path | None = None, download: bool = True
) -> tuple[Form, tuple[Path, ...]]:
    """The form of the set `name` that was found, and the verified files that hold `split`.

    Args:
        name: a set of the catalogue.
        split: "train" or "test".
        root: folder to look in before $WEFT_DATA and the cache.
        download: whether missing files may be downloaded to the cache.

    Raises:
        UsageError: if there is no such set.
        DataError: if it has no such split, or a file is missing, damaged or out of reach.
    """
    location = expect(name, root=root, download=download)
    if split not in location.form.splits:
        raise DataError(
            f"`{name}` has no split `{split}`",
            expected=f"one of {', '.join(location.form.splits)}",
        )
    statuses = {status.file: status for status in location.files}
    return location.form, tuple(
        _intact(location, statuses[file])
        if statuses[file].path
        else _download(location, statuses[file], cache_folder(), None)
        for file in location.form.splits[split]
    )


def looked_for(paths: Iterable[Path]) -> str:
    """Lines of a hint: every path that was tried."""
    return "\n".join(("looked for as", *(f"  {path}" for path in paths)))


def _missing(location: Location, *reasons: str) -> MissingData:
    """The error for a set with missing files; `reasons` say why they were not downloaded."""
    first, *others = [status for status in location.files if status.path is None]
    return MissingData(
        f"`{location.data_set.name}` needs {first.file.name}, which is not here"
        + (f" (nor are {len(others)} more of its files)" if others else ""),
        expected=f"{first.file.size:,} bytes, SHA-256 {first.file.sha256}",
        hint="\n".join(
            (
                looked_for(first.looked),
                *_refusals(location, first.looked),
                *reasons,
                _remedy(location, first.file),
            )
        ),
    )


def _look(data_set: DataSet, file: File, root: str | Path | None) -> FileStatus:
    """Looks for a file at its path in the catalogue, at that path without its first folder, in a
    folder named like the set, and directly in the data folder."""
    if file.packaged:
        looked = [Path(__file__).parent / file.path]
    else:
        inner = file.path.partition("/")[2]
        names = (file.path, inner, f"{data_set.name}/{file.name}", file.name)
        looked = [folder / name for folder in places(root) for name in dict.fromkeys(names)]
    for path in looked:
        if path.is_file():
            return FileStatus(file, tuple(looked), path, "present")
    return FileStatus(file, tuple(looked))


def _verify(status: FileStatus) -> FileStatus:
    if status.path is None:
        return status
    found = checksum_of(status.path)
    state: Literal["ok", "damaged"] = "ok" if found == status.file.sha256 else "damaged"
    return replace(status, state=state, found=found)


def _intact(location: Location, status: FileStatus) -> Path:
    """The path of a file that is there, after verifying its checksum."""
    assert status.path is not None
    verified = _verify(status)
    if verified.state == "ok":
        return status.path
    file = status.file
    raise DataError(
        f"{status.path} is damaged, or not the file that `{location.data_set.name}` needs",
        expected=f"{file.size:,} bytes, SHA-256 {file.sha256}",
        hint=f"found {status.path.stat().st_size:,} bytes, SHA-256 {verified.found}\n"
        "delete it; then, " + _remedy(location, file),
    )


def _remedy(location: Location, file: File) -> str:
    if file.packaged:
        return "install weft again: the file ships with it"
    if file.urls:
        return f"with a network: weft data get {location.data_set.name}"
    return "by hand, put the right file in its place: weft knows no mirror of it"


def _refusals(location: Location, looked: tuple[Path, ...]) -> list[str]:
    """A line for each file that is there in a form weft does not read."""
    return [
        f"{folder / name} is not read: {reason}"
        for folder in dict.fromkeys(path.parent for path in looked)
        for name, reason in location.data_set.refused.items()
        if (folder / name).is_file()
    ]


class _Meter:
    """Turns pooch's progress calls into calls of a `Progress`."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.name, self.progress = name, progress
        self.total, self.done = 0, 0

    def update(self, amount: int) -> None:
        self.done = min(self.done + amount, self.total)
        self.progress(self.name, self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None: ...


def _download(
    location: Location, status: FileStatus, target: Path, progress: Progress | None
) -> Path:
    """Downloads one file below `target` from the first mirror that delivers it undamaged."""
    import pooch

    file = status.file
    failures = ["no mirror delivered it:"] if file.urls else []
    for url in file.urls:
        try:
            path = pooch.retrieve(
                url,
                f"sha256:{file.sha256}",
                path=target / Path(file.path).parent,
                fname=file.name,
                downloader=pooch.HTTPDownloader(
                    progressbar=_Meter(file.name, progress) if progress else False
                ),
            )
        # requests' errors are OSErrors; a wrong checksum is a ValueError.
        except (OSError, ValueError) as error:
            if is_of_the_disk(error):
                raise
            failures.append(f"  {url}: {error}")
        else:
            by_umask(Path(path))
            return Path(path)
    raise _missing(location, *failures)
