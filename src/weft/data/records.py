"""Reads JSON objects of a user's files and checks their keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weft.data.guard import unreadable

Fields = Mapping[str, type | tuple[type, ...]]
"""Key -> the types its value may have."""
NUMBER = (int, float)


def parse(text: str, where: str, fields: Fields | None = None) -> dict[str, Any]:
    """Parses `text` as a JSON object.

    Raises:
        DataError: if it is not one, or a key is missing or of another type.
    """
    expected = "a JSON object"
    try:
        values = json.loads(text)
    # Also raised for numbers of thousands of digits, and for thousands of nested brackets.
    except (ValueError, RecursionError) as error:
        raise unreadable(where, expected, error) from error
    return fields_of(values, where, fields)


def fields_of(
    values: Any, where: str, fields: Fields | None = None, maybe: Fields | None = None
) -> dict[str, Any]:
    """Returns `values` if it is an object with `fields`.

    Args:
        values: what was read.
        where: where it was read.
        fields: keys it must have.
        maybe: keys that it may lack, or have as null.

    Raises:
        DataError: if it is not an object, or a key is missing or of another type.
    """
    expected = "a JSON object"
    if not isinstance(values, dict):
        raise unreadable(where, expected, f"{type(values).__name__} {str(values)[:40]}")
    present = {key: kinds for key, kinds in (maybe or {}).items() if values.get(key) is not None}
    for key, kinds in {**(fields or {}), **present}.items():
        if key not in values:
            raise unreadable(where, f"{expected} with `{key}`", f"keys {', '.join(values)}")
        value = values[key]
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise unreadable(where, f"`{key}`: {names}", f"{type(value).__name__} {value!r:.40}")
    return values
