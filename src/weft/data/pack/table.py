"""Packs the numeric columns of a table as arrays of sequences to train and test on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.data.content import read_text
from weft.data.guard import parsing
from weft.errors import DataError

_LARGEST = 3.4028234e38
"""The largest float32."""


def series(
    path: Path, steps: int, stride: int, held_out: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numeric columns of a table, one row a step, cut into sequences.

    The last share `held_out` of the rows becomes the test set.

    Returns: arrays `X_train` and `X_test`, float32 (N, steps, columns); and `columns`, their names.

    Raises:
        DataError: if no column holds numbers, a number is missing, or there are too few rows.
    """
    columns, rows = _numbers(path)
    cut = len(rows) - round(held_out * len(rows))
    parts = {"train": rows[:cut], "test": rows[cut:]}
    for split, part in parts.items():
        if len(part) < steps:
            raise DataError(
                f"{len(rows):,} rows leave {len(part):,} to {split} on",
                where=str(path),
                expected=f"{steps} at least, the steps of a sequence",
                hint="a smaller --steps, or another --held-out",
            )
    windows = np.lib.stride_tricks.sliding_window_view
    arrays = {
        f"X_{split}": windows(part, steps, axis=0)[::stride].transpose(0, 2, 1).copy()
        for split, part in parts.items()
    }
    return arrays, {"columns": columns}


def _numbers(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """The columns whose first entry is a number: their names, and their values (R, d)."""
    table = "a table of text in UTF-8"
    with parsing(path, table):
        file = io.StringIO(read_text(path, table), newline="")
        read = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        rows = [(read.line_num, row) for row in read if row]
    named = bool(rows) and not any(map(_is_number, rows[0][1]))
    head = rows[0][1] if named else [str(n) for n in range(len(rows[0][1]) if rows else 0)]
    body = rows[1:] if named else rows
    kept = [place for place, entry in enumerate(body[0][1]) if _is_number(entry)] if body else []
    if body and (sign := _other_separator(body[0][1], read.dialect.delimiter)):
        raise DataError(
            f"entries seem to stand between {sign}",
            where=f"{path}:{body[0][0]}",
            expected="a comma between entries (in a .tsv a tabulator), and a point in decimals",
        )
    if not kept:
        raise DataError(
            "there is no column of numbers",
            where=str(path),
            expected="a row for each step and a column for each channel, below names if at all",
            hint=f"found in the first line: {', '.join(head)[:80] or 'nothing'}",
        )
    for place in {*range(len(head))} - {*kept}:
        _check_order(path, head[place], [(line, row[place : place + 1]) for line, row in body])
    values = np.array(list(_checked(path, head, body, kept)), np.float32)
    return [head[place] for place in kept], values


def _other_separator(entries: Sequence[str], own: str) -> str:
    """What would make more numbers of a row than the separator that it was read with; "" if none.

    Spreadsheets of many countries write `1,5;2,25`, of which commas make numbers, too: wrong ones.
    """
    line = own.join(entries)
    for sign, name in ((";", "semicolons"), ("\t", "tabulators"), (" ", "blanks"), (",", "commas")):
        pieces = [piece.strip() for piece in line.split(sign) if piece.strip()]
        numbers = [each for each in pieces if _is_number(each.replace(",", "."))]
        known = sum(map(_is_number, entries))
        # Blanks stand in dates and names, too.
        more = len(numbers) - known if sign != " " or not known else -1
        if (
            sign != own
            and len(pieces) > 1
            and (more > 0 or (more == 0 and "," in "".join(numbers)))
        ):
            return name
    return ""


def _checked(
    path: Path, head: Sequence[str], body: Sequence[tuple[int, list[str]]], kept: Sequence[int]
) -> Iterator[list[float]]:
    for line, row in body:
        if any(row[len(head) :]):
            raise DataError(
                f"{len(row)} entries stand here, and {len(head)} in the first row",
                where=f"{path}:{line}",
                expected="a comma between entries (in a .tsv a tabulator), and in none of them",
            )
        for place in kept:
            if place >= len(row) or not _is_number(row[place]):
                raise DataError(
                    f"column `{head[place]}` has no number here",
                    where=f"{path}:{line}",
                    expected="a number of 32 bits in each row of a column that begins with one",
                )
        yield [float(row[place]) for place in kept]


def _check_order(path: Path, name: str, column: Sequence[tuple[int, list[str]]]) -> None:
    """Refuses dates that go back: sequences would run the wrong way, or across times, and the last
    rows, which are tested on, would not be the latest. A column that holds no dates says nothing.
    """
    back: tuple[str, str] | None = None
    dates: list[datetime] = []
    for line, entry in column:
        try:
            date = datetime.fromisoformat("".join(entry).strip())
            if back is None and dates and date < dates[-1]:
                back = f"{path}:{line}", f"{date} after {dates[-1]}"
        except (ValueError, TypeError):
            return
        dates.append(date)
    if back is not None:
        raise DataError(
            f"the dates of column `{name}` go back: {back[1]}",
            where=back[0],
            expected="rows in the order of time, the earliest first",
        )


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= _LARGEST
    except ValueError:
        return False
