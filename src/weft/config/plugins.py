"""Loads what other packages plug in: entry points by name, and objects named "module:name"."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from weft.config.place import innermost, place, told
from weft.errors import PluginError, WeftError


def plugged(group: str, own: Collection[str]) -> tuple[dict[str, EntryPoint], dict[str, WeftError]]:
    """The entry points of a group, by name.

    Args:
        group: such as `weft.families`.
        own: names in this group that weft itself uses, and others may not.

    Returns:
        The entry points with a unique name; and name -> error for all other names.
    """
    points: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        points.setdefault(point.name, []).append(point)
    clashes: dict[str, WeftError] = {}
    for name, rivals in points.items():
        owners = [*["weft itself"] * (name in own), *map(package, rivals)]
        if len(owners) > 1:
            clashes[name] = PluginError(
                f"`{name}` is brought by {' and by '.join(owners)}",
                where=f"entry points {group}",
                expected="each name once",
                hint="rename one of them, or uninstall its package",
            )
    return {name: found[0] for name, found in points.items() if name not in clashes}, clashes


def package(point: EntryPoint) -> str:
    """The package that brings an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def load(module: str, whose: str = "", where: str = "") -> ModuleType:
    """Imports a module.

    Args:
        module: its name.
        whose: what needs it, for messages, such as "family `twin` of weft-twin 1.0".
        where: file:line that names it.

    Raises:
        PluginError: if there is no such module, or its import fails and it is not one of weft's.
        WeftError: one that the module itself raises.
    """
    lead = f"{whose}: " if whose else ""
    try:
        return import_module(module)
    except WeftError:
        raise
    except Exception as error:
        absent = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module}.".startswith(f"{absent}."):
            raise PluginError(
                f"{lead}there is no module `{absent}`",
                where=where,
                expected=f"`{module}` to be a module that can be imported",
            ) from error
        root = module.partition(".")[0]
        if root == "weft":
            raise
        where = innermost(error, {root}) or where
        if isinstance(error, SyntaxError) and error.filename:
            where = f"{error.filename}:{error.lineno}"
        raise PluginError(
            f"{lead}`{module}` cannot be imported: {told(error)}",
            where=where,
            hint=f'`python -c "import {module}"` shows the traceback',
        ) from error


def resolve(path: str, whose: str = "", where: str = "") -> Any:
    """Imports the object that "package.module:name" names.

    Args:
        path: its name, which comes from code, never from a config.
        whose, where: as for `load`.

    Raises:
        PluginError: if there is no such module or object.
    """
    module, _, name = path.partition(":")
    home = load(module, whose, where)
    if not name or not hasattr(home, name):
        public = [known for known in vars(home) if not known.startswith("_")]
        close = get_close_matches(name, public, n=1)
        raise PluginError(
            f"{f'{whose}: ' if whose else ''}`{module}` has no `{name}`",
            where=where or place(home),
            expected=f"what `{path}` names",
            hint=f"did you mean `{module}:{close[0]}`?" if close else "",
        )
    return getattr(home, name)


def packages(groups: Collection[str], modules: Mapping[str, str]) -> set[str]:
    """Import names of the packages that may hold code of other authors.

    Args:
        groups: of entry points.
        modules: family -> its module.
    """
    brought = [point.module for group in groups for point in entry_points(group=group)]
    return {module.partition(".")[0] for module in (*brought, *modules.values())} - {"weft"}
