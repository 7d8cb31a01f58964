"""Records the checksums of the data files a run reads, so that it notices when they change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from weft.errors import DataError

_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)


@contextmanager
def noting(files: dict[str, str]) -> Iterator[None]:
    """Lets readers within the block add what they read to `files`: name -> SHA-256.

    The name of a catalogued file is its path in the catalogue, wherever it is; that of a user's own
    file is its absolute path.
    """
    token = _noted.set(files)
    try:
        yield
    finally:
        _noted.reset(token)


def note(path: Path, name: str = "", sha256: str = "") -> None:
    """Records that data are read from `path`.

    Args:
        path: the file.
        name: its path in the catalogue; "" for a user's own file.
        sha256: its checksum, if known; "" to compute it.

    Raises:
        DataError: if the file cannot be read.
    """
    files = _noted.get()
    key = name or str(path.absolute())
    if files is None or key in files:
        return
    files[key] = sha256 or checksum_of(path)


def checksum_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read",
            where=str(path),
            expected="a file that may be read",
            hint=f"found: {error}",
        ) from error
