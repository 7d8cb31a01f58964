"""The registry: family name -> module that holds its `FAMILY`, imported when asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from weft.config.explain import suggest
from weft.config.family import Family
from weft.errors import UsageError

BUILT_IN = {
    "cet": "weft.families.cet",
    "feedback": "weft.families.feedback",
    "jepa": "weft.families.jepa",
    "warp": "weft.families.warp",
}


@cache
def _modules() -> dict[str, str]:
    plugged = {
        point.name: point.value.partition(":")[0] for point in entry_points(group="weft.families")
    }
    return {**plugged, **BUILT_IN}


def names() -> list[str]:
    """All known families, those of plug-ins included, in alphabetical order."""
    return sorted(_modules())


@cache
def find(name: str) -> Family:
    """The family called `name`.

    Raises:
        UsageError: if there is none.
    """
    if name not in _modules():
        raise UsageError(
            f"there is no family `{name}`",
            expected=f"one of {', '.join(names())}",
            hint=suggest(name, names(), ""),
        )
    family: Family = import_module(_modules()[name]).FAMILY
    return family
