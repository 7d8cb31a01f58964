"""Reads the files of a study of rates, which have a line for each run."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from weft.errors import DataError, UsageError

_WORDS = {
    "number": "a number",
    "whole": "a whole number",
    "truth": "true or false",
    "text": "text",
}


def read(files: Sequence[Path], keys: Collection[str]) -> list[dict[str, Any]]:
    """The rows of all files, in their order.

    Args:
        files: written by `weft study rates`.
        keys: that every row must have.

    Raises:
        UsageError: if a file does not exist.
        DataError: if a line is not a row of a study of rates, or files hold none.
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
                raise _no_row(file, number, f"JSON in braces, with {', '.join(keys)}")
            if wrong := next((key for key in row if not _may_be(key, row[key])), None):
                raise _no_row(
                    file, number, f"`{wrong}`: {_WORDS[_kind(wrong)]}, not {row[wrong]!r:.40}"
                )
            rows.append(row)
    if files and not rows:
        raise DataError(
            "there are no rows",
            where=", ".join(map(str, files)),
            expected="a line of JSON for every run, as `weft study rates` writes them (--out)",
        )
    return rows


def _kind(key: str) -> str:
    """What the values of a key are; those of an axis are text."""
    if "/" in key or key == "step_ms":
        return "number"
    return {"seed": "whole", "steps": "whole", "chosen": "truth", "inside": "truth"}.get(
        key, "text"
    )


def _may_be(key: str, value: Any) -> bool:
    kind = _kind(key)
    if kind == "number":
        # A metric that was no number is written as null.
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if kind == "whole":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "truth" else str)


def _no_row(file: Path, number: int, expected: str) -> DataError:
    return DataError(
        "this line is no row of a study of rates", where=f"{file}:{number}", expected=expected
    )
