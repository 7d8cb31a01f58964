"""Names of a package that are imported when first asked for, which keeps the package light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that takes each name from its home.

    Args:
        package: `__name__` of the module.
        homes: public name -> module that defines it, relative (`.trace.conversion`) or absolute.
    """

    def getattribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name], package), name)

    return getattribute
