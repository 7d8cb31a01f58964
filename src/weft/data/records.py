"""Reads JSON objects of a user's files and checks their keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weft.data.guard import unreadable

Fields = Mapping[str, type | tuple[type, ...]]
"""Key -> the types its value may have."""


def parse(text: str, where: str, fields: Fields | None = None) -> dict[str, Any]:
    """Parses `text` as a JSON object.

    Args:
        text: the JSON.
        where: the place named in errors.
        fields: keys that the object must have, and their types.

    Raises:
        DataError: if it is not an object, or a key is missing or of another type.
    """
    expected = "a JSON object"
    try:
        values = json.loads(text)
    # Also raised for numbers of thousands of digits, and for thousands of nested brackets.
    except (ValueError, RecursionError) as error:
        raise unreadable(where, expected, error) from error
    if not isinstance(values, dict):
        raise unreadable(where, expected, f"{type(values).__name__} {str(values)[:40]}")
    for key, kinds in (fields or {}).items():
        if key not in values:
            raise unreadable(where, f"{expected} with `{key}`", f"keys {', '.join(values)}")
        value = values[key]
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise unreadable(where, f"`{key}`: {names}", f"{type(value).__name__} {value!r:.40}")
    return values
