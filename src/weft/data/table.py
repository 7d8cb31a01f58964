"""Reader of the electricity-transformer tables (ETT): rows of a date and seven numbers."""

# R rows

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.data.content import read_lines
from weft.data.guard import unreadable
from weft.errors import DataError

ETT_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
_ROW = "a date and seven numbers, with commas between them"


def read_ett(path: Path) -> NDArray[np.float32]:
    """The numbers of an ETT csv file, plain or `.gz`, float32 (R, 7).

    Raises:
        DataError: if the header is another one, a line is not a date and seven finite numbers, or
            dates are out of order, repeated, or not evenly spaced.
    """
    head, *lines = read_lines(path, "a table of comma-separated values")
    columns = ["date", *ETT_COLUMNS]
    if head.strip().split(",") != columns:
        raise unreadable(f"{path}:1", ",".join(columns), head)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise unreadable(path, "rows below the header", "none")
    dates = [_date(line, f"{path}:{row}") for row, line in enumerate(lines, start=2)]
    try:
        values = np.loadtxt(
            lines, delimiter=",", usecols=range(1, 8), ndmin=2, comments=None, max_rows=len(lines)
        )
    except ValueError as error:
        raise _first_wrong(lines, path) or unreadable(path, _ROW, error) from error
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise unreadable(f"{path}:{bad[0] + 2}", "finite numbers", values[bad[0]])
    _check_dates(dates, path)
    return values.astype(np.float32)


def _date(line: str, where: str) -> datetime:
    """The date at the beginning of a row of eight entries."""
    text = line.partition(",")[0].strip()
    if line.count(",") != len(ETT_COLUMNS):
        raise unreadable(where, _ROW, line or "an empty line")
    try:
        date = datetime.fromisoformat(text)
    except ValueError as error:
        raise unreadable(where, _ROW, error) from error
    if date.tzinfo is not None:
        raise unreadable(where, "a date without a time zone", text)
    return date


def _first_wrong(lines: Sequence[str], path: Path) -> DataError | None:
    """The error for the first row with an entry that is not a number."""
    for row, line in enumerate(lines, start=2):
        try:
            [float(entry) for entry in line.split(",")[1:]]
        except ValueError as error:
            return unreadable(f"{path}:{row}", _ROW, error)
    return None


def _check_dates(dates: Sequence[datetime], path: Path) -> None:
    """Refuses rows that are not evenly spaced in time: windows across a gap would be wrong."""
    steps = [later - earlier for earlier, later in pairwise(dates)]
    if not steps:
        return
    usual = Counter(steps).most_common(1)[0][0]
    for row, step in enumerate(steps, start=1):
        if step == usual and usual > timedelta():
            continue
        before = dates.index(dates[row])
        if before < row:
            problem = f"it stands in line {before + 2} already"
        elif step < timedelta():
            problem = "out of order"
        else:
            problem = f"a gap of {step}"
        raise unreadable(
            f"{path}:{row + 2}",
            f"rows in the order of their dates, {usual} apart"
            if usual > timedelta()
            else "rows in the order of their dates",
            f"{dates[row]} after {dates[row - 1]}: {problem}",
        )
