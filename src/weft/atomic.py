"""Writes files so that a reader, or a crash, never sees half of one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from weft.system import writing

_SUFFIX = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new empty file that takes `path`'s place, fsynced, when the block ends without an error.

    Its mode is what the umask leaves of 0666, as of any file a program makes.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
    with writing(path):
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
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
    """Whether `path` is what a process that was killed left of a file it was writing."""
    return path.name.startswith(".") and path.suffix == _SUFFIX


def _sync(path: Path) -> None:
    """Makes a file, or a rename in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
