"""Turns what parsers raise on damaged files into one error, and bounds what they may unpack."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weft.errors import DataError, WeftError

_MOST_INFLATION = 200
"""Real data are compressed by less than this factor; deflate can reach about 1,030."""
_LINE = re.compile(r":\d+$")
_SMALL = 64 * 2**20
_LONGEST_FOUND = 160


def unreadable(where: str | Path, expected: str, found: object, *, what: str = "") -> DataError:
    """The error for a file that is not what its reader expects.

    Args:
        where: the file, with `:line` where that is known.
        expected: what would have been right.
        found: what is there instead, an exception or words.
        what: the file's name; by default the last part of `where`.
    """
    where = str(where)
    words = (isinstance(found, OSError) and found.strerror) or str(found)
    text = " ".join(words.split()) or type(found).__name__
    # A file's content may hold escape sequences.
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:10_000])
    short = text if len(text) <= _LONGEST_FOUND else text[:_LONGEST_FOUND] + "…"
    return DataError(
        f"{what or _LINE.sub('', Path(where).name)} cannot be read",
        where=where,
        expected=expected,
        hint=f"found: {short}",
    )


@contextmanager
def parsing(where: str | Path, expected: str, what: str = "") -> Iterator[None]:
    """Runs a foreign parser on a file: any exception inside becomes a DataError about the file.

    The parser's warnings are not shown.

    Raises:
        DataError: in place of every exception that is not weft's own.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except WeftError:
        raise
    # On damaged files parsers raise anything: struct.error, NotImplementedError, RecursionError,
    # MemoryError, SyntaxError of a header, …
    except Exception as error:
        raise unreadable(where, expected, error, what=what) from error


def check_inflation(size: int, packed: int, where: str | Path) -> None:
    """Refuses content that unpacks to far more than its file, before the memory is taken.

    Args:
        size: bytes after unpacking.
        packed: bytes in the file.
        where: the file.

    Raises:
        DataError: if more than 64 MiB would be unpacked from less than a 200th of that.
    """
    if size > _SMALL and size > _MOST_INFLATION * packed:
        raise unreadable(
            where,
            f"at most {_MOST_INFLATION} times as many bytes unpacked as packed",
            f"{size:,} bytes or more out of {packed:,}",
        )
