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

    Its mode is what the umask leaves of 0666, as of any file a program makes. What a process that
    was killed left half written of `path` is removed first.

    Raises:
        UsageError: `path` is a folder, a device or a pipe, which no file may take the place of.
    """
    _check_replaceable(path)
    sweep_halves(path.parent, path.name)
    with writing(path):
        descriptor, temporary = _claim(path)
        mode = stat.S_IMODE(temporary.stat().st_mode)
        try:
            yield temporary
            # Libraries that write by name may have put a file of their own, and mode, there.
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
    """`path`, where a user wants a file, with its folder made.

    Raises:
        UsageError: no file may stand there, or its folder cannot, because something else does.
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
    """Gives a file that a library made for its owner alone the mode of any file made here."""
    with writing(path):
        like = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
        os.close(os.open(like, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            path.chmod(stat.S_IMODE(like.stat().st_mode))
        finally:
            like.unlink()


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text` in one step."""
    with atomic_writer(path) as file:
        file.write(text.encode())


def is_half(path: Path) -> bool:
    """Whether `path` is, by its name, a file that is being written or was left half written."""
    return path.name.startswith(".") and path.suffix == _SUFFIX


def sweep_halves(folder: Path, name: str = "") -> None:
    """Removes what killed processes left half written in `folder`; a living one keeps its own.

    Args:
        folder: need not exist.
        name: of the only file whose halves are meant.
    """
    if not folder.is_dir():
        return
    start = f".{name}." if name else "."
    for path in folder.iterdir():
        if is_half(path) and path.name.startswith(start):
            # Not ours to remove, or gone already: whoever owns it will see to it.
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
        with suppress(
            OSError
        ):  # A file system without locks has no one who could take it for left.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # Swept away in the moment before it was locked.


def _sync(path: Path) -> None:
    """Makes a file, or a rename in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
