"""The registry of families: name -> module with its `FAMILY`, imported on demand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint

from weft.config.border import family_of
from weft.config.explain import suggest
from weft.config.family import Family, Preset
from weft.config.kinds import SECTIONS
from weft.config.place import innermost, told
from weft.config.plugins import load, package, packages, plugged
from weft.config.presets import presets
from weft.errors import PluginError, UsageError, WeftError

GROUP = "weft.families"

BUILT_IN = {
    "cet": "weft.families.cet",
    "feedback": "weft.families.feedback",
    "gaussvae": "weft.families.gaussvae",
    "jepa": "weft.families.jepa",
    "warp": "weft.families.warp",
}


@cache
def _plugged() -> tuple[Mapping[str, EntryPoint], Mapping[str, WeftError]]:
    return plugged(GROUP, BUILT_IN)


@cache
def _modules() -> dict[str, str]:
    return {**{name: point.module for name, point in _plugged()[0].items()}, **BUILT_IN}


def names() -> list[str]:
    """Names of all families in alphabetical order, with those of plug-ins, even if broken."""
    return sorted({*_modules(), *_plugged()[1]})


@cache
def find(name: str) -> Family:
    """The family called `name`.

    Raises:
        UsageError: if there is none.
        PluginError: if it cannot be imported, or lacks something that weft needs.
    """
    if name not in names():
        raise UsageError(
            f"there is no family `{name}`",
            expected=f"one of {', '.join(names())}",
            hint=suggest(name, names(), ""),
        )
    if name not in _modules():
        raise _plugged()[1][name]
    whose = f"family `{name}`{f' of {home}' if (home := brought_by(name)) else ''}"
    return family_of(load(_modules()[name], whose), name, whose)


def brought_by(name: str) -> str:
    """The package whose plug-in is the family `name`; "" for weft's own families."""
    point = _plugged()[0].get(name)
    return package(point) if point else ""


def survey() -> tuple[dict[str, dict[str, Preset]], dict[str, WeftError]]:
    """The presets of every family that can be imported, and the errors of the others.

    A plug-in with the name of one of weft's families counts as an error; weft's own still loads.
    """
    found, broken = {}, dict(_plugged()[1])
    for name in names():
        try:
            found[name] = presets(find(name))
        except WeftError as error:
            broken[name] = error
        except Exception as error:
            if (authors := blame(error)) is None:
                raise
            broken[name] = authors
    return found, broken


def blame(error: Exception) -> PluginError | None:
    """An error for the author of a plug-in, if `error` was raised in or below the plug-in's code.

    It names the deepest line of the plug-in in the traceback. None if `error` is weft's own.
    """
    groups = (GROUP, *(f"weft.{section}" for section in SECTIONS))
    where = innermost(error, packages(groups, _modules()))
    if not where:
        return None
    more = str(error).partition("\n")[2]
    hint = "raised by code outside weft; `weft --debug …` shows the traceback"
    return PluginError(told(error), where=where, hint=f"{more}\n{hint}" if more else hint)
