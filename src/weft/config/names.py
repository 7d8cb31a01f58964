"""Texts that name files: a path, and the name of one folder."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST = 200


def _path(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError(f"{text!a} holds a control character, which no path needs")
    if not text.strip():
        raise ValueError("an empty text is no path")
    return text


def _name(text: str) -> str:
    if _path(text) in (".", "..") or "/" in text or "\\" in text or text != text.strip():
        raise ValueError(f"{text!a} is no name: a name has no separators, and is not `..`")
    if len(text.encode(errors="replace")) > _LONGEST:
        raise ValueError(f"a name of {len(text)} characters is too long; {_LONGEST} bytes will do")
    return text


CleanPath = Annotated[str, AfterValidator(_path)]
"""A path without control characters."""

FolderName = Annotated[str, AfterValidator(_name)]
"""The name of one folder: no separators, no `..`, no control characters."""


def as_name(text: str) -> str:
    """`text` as a folder may be called: what may not stand in a name becomes `-`."""
    kept = re.sub(r"[/\\]", "-", _CONTROL.sub("-", text)).strip()[:_LONGEST]
    return "run" if kept in ("", ".", "..") else kept
