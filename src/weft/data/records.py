"""JSON objects of a user's file, each held against the keys it must have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weft.data.guard import unreadable

#: key -> the types its value may have
Fields = Mapping[str, type | tuple[type, ...]]
NUMBER = (int, float)


def parse(text: str, where: str, fields: Fields | None = None) -> dict[str, Any]:
    """The JSON object that `text` is.

    Raises:
        DataError: it is none, or a key is missing or of another type.
    """
    expected = "a JSON object"
    try:
        values = json.loads(text)
    # Also numbers of thousands of digits, and thousands of brackets.
    except (ValueError, RecursionError) as error:
        raise unreadable(where, expected, error) from error
    return fields_of(values, where, fields)


def fields_of(
    values: Any, where: str, fields: Fields | None = None, maybe: Fields | None = None
) -> dict[str, Any]:
    """`values`, if it is an object with `fields`.

    Args:
        values: what was read.
        where: the place it was read from.
        fields: keys it must have.
        maybe: keys it may have, or have as null.
    Raises:
        DataError: it is none, or a key is missing or of another type.
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
