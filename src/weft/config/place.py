"""Where an author's code stands, as file:line."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Collection
from functools import cached_property
from typing import Any


def place(thing: Any) -> str:
    """Where a class, function, method, property or module was written; "" where unknown."""
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
    """Where the deepest call into one of `packages` stood when `error` was raised; "" if none."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in packages:
            found = f"{frame.f_code.co_filename}:{line}"
    return found


def told(error: BaseException) -> str:
    """Type and message of `error`, in one line."""
    name, said = type(error).__name__, str(error).partition("\n")[0]
    return f"{name}: {said}" if said else name
