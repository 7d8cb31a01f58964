"""Finds the file:line of a plug-in author's code, for error messages."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Collection
from functools import cached_property
from typing import Any


def place(thing: Any) -> str:
    """The file:line where a class, function, method, property or module is defined; "" if
    unknown."""
    if isinstance(thing, property):
        thing = thing.fget
    elif isinstance(thing, cached_property):
        thing = thing.func
    thing = inspect.unwrap(thing)
    try:
        file, line = inspect.getsourcefile(thing), inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return str(getattr(inspect.getmodule(thing), "__file__", "") or "")
    return f"{file}:{line}" if line else str(file)


def innermost(error: BaseException, packages: Collection[str]) -> str:
    """The file:line of the innermost frame of `error` in one of `packages`; "" if none."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in packages:
            found = f"{frame.f_code.co_filename}:{line}"
    return found


def told(error: BaseException) -> str:
    """The type of `error` and the first line of its message."""
    name, message = type(error).__name__, str(error).partition("\n")[0]
    return f"{name}: {message}" if message else name
