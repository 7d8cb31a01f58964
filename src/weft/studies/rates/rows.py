"""Reads the files of a study of rates, which have a line for each run."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from weft.errors import DataError, UsageError


def read(files: Sequence[Path], keys: Collection[str]) -> list[dict[str, Any]]:
    """The rows of all files, in their order.

    Args:
        files: written by `weft study rates`.
        keys: that every row must have.

    Raises:
        UsageError: if a file does not exist.
        DataError: if a line is not a row of a study of rates.
    """
    rows = []
    for file in files:
        if not file.is_file():
            raise UsageError(
                f"there is no file `{file}`", expected="one that `weft study rates` wrote (--out)"
            )
        for number, line in enumerate(file.read_bytes().splitlines(), start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict) or not row.keys() >= {*keys}:
                raise DataError(
                    "this line is no row of a study of rates",
                    where=f"{file}:{number}",
                    expected=f"JSON in braces, with {', '.join(keys)}",
                )
            rows.append(row)
    return rows
