"""One error for whatever damaged files make parsers raise, and bounds on what they may take."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weft.errors import DataError, WeftError

# Honest data shrink by less than this; deflate shrinks nothing by more than about 1,030.
_MOST_INFLATION = 200
_LINE = re.compile(r":\d+$")
_SMALL = 64 * 2**20
_LONGEST_FOUND = 160


def unreadable(where: str | Path, expected: str, found: object, *, what: str = "") -> DataError:
    """The error of a file that is not what its reader wants.

    Args:
        where: the file, with `:line` where that is known.
        expected: what would have been right.
        found: what is there instead, an exception or words.
        what: the file's name; by default the last part of `where`.
    """
    where = str(where)
    words = (isinstance(found, OSError) and found.strerror) or str(found)
    said = " ".join(words.split()) or type(found).__name__
    # What stands in a file may be meant for the terminal.
    said = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in said[:10_000])
    short = said if len(said) <= _LONGEST_FOUND else said[:_LONGEST_FOUND] + "…"
    return DataError(
        f"{what or _LINE.sub('', Path(where).name)} cannot be read",
        where=where,
        expected=expected,
        hint=f"found: {short}",
    )


@contextmanager
def parsing(where: str | Path, expected: str, what: str = "") -> Iterator[None]:
    """Inside, a parser that is not ours reads a file: all it raises is the file's fault.

    What it warns of is not shown: it is read, or refused.

    Raises:
        DataError: in place of every other exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except WeftError:
        raise
    # Parsers of damaged files raise what their authors did not think of: struct.error,
    # NotImplementedError, RecursionError, MemoryError, SyntaxError of a header, …
    except Exception as error:
        raise unreadable(where, expected, error, what=what) from error


def check_inflation(size: int, packed: int, where: str | Path) -> None:
    """Refuses what would take far more memory than its file, before the memory is taken.

    Args:
        size: bytes once unpacked.
        packed: bytes in the file.
        where: the file.

    Raises:
        DataError: it is a bomb, or damaged.
    """
    if size > _SMALL and size > _MOST_INFLATION * packed:
        raise unreadable(
            where,
            f"at most {_MOST_INFLATION} times as many bytes unpacked as packed",
            f"{size:,} bytes or more out of {packed:,}",
        )
