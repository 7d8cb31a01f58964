"""Notes which files data come from, so that a run can tell when they are no longer the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)


@contextmanager
def noting(files: dict[str, str]) -> Iterator[None]:
    """Readers called inside add what they read to `files`: name -> SHA-256.

    A catalogued file goes by its name in the catalogue, wherever it lies; a user's own by its
    absolute path.
    """
    token = _noted.set(files)
    try:
        yield
    finally:
        _noted.reset(token)


def note(path: Path, name: str = "", sha256: str = "") -> None:
    """Says that data come from `path`.

    Args:
        path: the file.
        name: in the catalogue; "" for a user's own file.
        sha256: its checksum where that is known; taken otherwise.
    """
    files = _noted.get()
    key = name or str(path.absolute())
    if files is None or key in files:
        return
    if not sha256:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    files[key] = sha256
