"""Names of a package that are imported on first use, so that the package itself loads quickly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module-level `__getattr__` that imports each public name from its module on first use.

    Args:
        package: `__name__` of the package that exports the names.
        homes: public name -> module that defines it, relative (`.trace.conversion`) or absolute.
    """

    def getattribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name], package), name)

    return getattribute
