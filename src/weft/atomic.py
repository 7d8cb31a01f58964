"""Writes files so that a reader, or a crash, never sees half of one."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from weft.errors import UsageError
from weft.system import writing

_SUFFIX = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new empty file that takes `path`'s place, fsynced, when the block ends without an error.

    Its mode is 0666 less the umask, as for any new file. Half-written files that killed processes
    left behind for `path` are removed first.

    Raises:
        UsageError: if `path` is a folder, a device or a pipe, which are never replaced by a file.
    """
    _check_replaceable(path)
    sweep_halves(path.parent, path.name)
    with writing(path):
        descriptor, temporary = _claim(path)
        mode = stat.S_IMODE(temporary.stat().st_mode)
        try:
            yield temporary
            # A library that writes by name may have put a new file there, with a mode of its own.
            temporary.chmod(mode)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def destined(path: Path) -> Path:
    """Makes the folder of `path`, a file that a user asked for, and returns `path`.

    Raises:
        UsageError: if `path` is no ordinary file, or its folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"`{path.parent}` is no folder", where=str(path), expected="a folder, or a new name"
        ) from error
    _check_replaceable(path)
    return path


def _check_replaceable(path: Path) -> None:
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no ordinary file"
        raise UsageError(
            f"this is {what}", where=str(path), expected="a file to replace, or a new name"
        )


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes `path`'s place, fsynced, when the block ends without an error."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


def by_umask(path: Path) -> None:
    """Sets the mode of a file that a library made private (0600) to 0666 less the umask."""
    with writing(path):
        like = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
        os.close(os.open(like, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            path.chmod(stat.S_IMODE(like.stat().st_mode))
        finally:
            like.unlink()


def write_text(path: Path, text: str) -> None:
    """Replaces the file at `path` by one that holds `text`, atomically."""
    with atomic_writer(path) as file:
        file.write(text.encode())


def is_half(path: Path) -> bool:
    """Whether `path` is, by its name, a file that is being written or was left half written."""
    return path.name.startswith(".") and path.suffix == _SUFFIX


def sweep_halves(folder: Path, name: str = "") -> None:
    """Removes half-written files of processes that no longer run from `folder`.

    Args:
        folder: need not exist.
        name: only half-written copies of the file of this name; "" for all.
    """
    if not folder.is_dir():
        return
    start = f".{name}." if name else "."
    for path in folder.iterdir():
        if is_half(path) and path.name.startswith(start):
            # Still being written, gone already, or not ours to remove.
            with suppress(OSError):
                _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)


def _claim(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, and its descriptor, whose lock says that its writer lives."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        # On a file system without locks `_remove_if_left` fails as well, and removes nothing.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # Another process removed it before it was locked: once more.


def _sync(path: Path) -> None:
    """Makes a file, or a rename in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
