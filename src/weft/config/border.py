"""Checks a family that an author declares; the error names the first thing that is wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from types import ModuleType
from typing import Literal, get_args, get_origin

from weft.config.base import FamilyConfig
from weft.config.family import Comparison, Family, Parallel
from weft.config.kinds import NAMED, SECTIONS, fault
from weft.config.place import place
from weft.errors import PluginError

VERB = re.compile(r"(data )?[a-z][a-z0-9-]*")
"""Names that a command may have."""

Wrong = tuple[str, str]
"""A mistake: what is wrong, and what was expected."""


def family_of(module: ModuleType, name: str, whose: str) -> Family:
    """The family that a module declares as `FAMILY`, checked.

    Args:
        module: of the family.
        name: the family's name in the registry.
        whose: the family in words, for messages, such as "family `twin` of weft-twin 1.0".

    Raises:
        PluginError: if the module has no `FAMILY`, or one of its fields is wrong.
    """
    found = vars(module).get("FAMILY")
    if not isinstance(found, Family):
        given = f"is {found!r}" if "FAMILY" in vars(module) else "is not there"
        raise PluginError(
            f"{whose}: its `FAMILY` {given}",
            where=_line(module),
            expected=f'`FAMILY = Family(name="{name}", …)` of weft.config.family',
        )
    for says, expected in chain(_fields(found, name), _entries(found)):
        raise PluginError(f"{whose}: {says}", where=_line(module), expected=expected)
    for says, expected in _config(found):
        where = place(found.config) or _line(module)
        raise PluginError(f"{whose}: {says}", where=where, expected=expected)
    return found


def declared_at(family: Family) -> str:
    """The file:line that declares `family`; "" if no loaded module does."""
    modules = [
        m for m in sys.modules.values() if getattr(m, "__dict__", {}).get("FAMILY") is family
    ]
    return _line(modules[0]) if modules else ""


def _fields(family: Family, name: str) -> Iterator[Wrong]:
    """Mistakes in its fields other than the config, each taken as a whole."""
    if family.name != name:
        yield f"it calls itself `{family.name}`", f'name="{name}", as it is registered'
    for field in ("summary", "default"):
        if not (isinstance(value := getattr(family, field), str) and value):
            yield f"`{field}` is {value!r}", "text"
    if not callable(family.parallel) and family.parallel not in get_args(Parallel):
        yield f"`parallel` is {family.parallel!r}", f"one of {', '.join(get_args(Parallel))}"
    named = {key: getattr(family, key) for key in ("task", "table", "bench", "comparison")}
    for field, value in named.items():
        absent = value == "" and field != "task"
        if not (absent or (isinstance(value, str) and NAMED.fullmatch(value))):
            yield f"`{field}` is {value!r}", 'text of the form "package.module:name"'
    if not isinstance(family.compared, Comparison | None):
        yield f"`compared` is {family.compared!r}", "a weft.config.family.Comparison"
    for field in ("aliases", "kinds", "studies", "verbs", "exports"):
        if not isinstance(value := getattr(family, field), Mapping):
            yield f"`{field}` is {value!r}", "a mapping"


def _entries(family: Family) -> Iterator[Wrong]:
    """Mistakes in the entries of its mappings."""
    for old, entry in family.aliases.items():
        form = isinstance(entry, tuple) and len(entry) == 2
        if not (form and isinstance(entry[0], str) and callable(entry[1])):
            yield f"alias `{old}` is {entry!r}", "(new key, function that converts the value)"
    for section, added in family.kinds.items():
        if section not in SECTIONS or not isinstance(added, Mapping):
            yield f"`kinds` has `{section}`: {added!r}", f"one of {', '.join(SECTIONS)}, by tag"
            continue
        for tag, kind in added.items():
            if says := fault(tag, kind):
                yield says, f'in kinds["{section}"], tag -> Kind(ConfigClass, "module:function")'
    for what, call in (("studies", "main"), ("exports", "function")):
        for key, value in getattr(family, what).items():
            if not (isinstance(value, str) and NAMED.fullmatch(value)):
                yield f"`{what}` has `{key}`: {value!r}", f'text like "package.module:{call}"'
    for verb, value in family.verbs.items():
        if not (isinstance(verb, str) and VERB.fullmatch(verb)):
            yield f"`verbs` has {verb!r}", 'a word such as "fit-all", or "data" and a word'
        elif not (isinstance(value, str) and NAMED.fullmatch(value)):
            yield f"verb `{verb}` is {value!r}", 'text of the form "package.module:function"'


def _config(family: Family) -> Iterator[Wrong]:
    """Mistakes in its config class."""
    name, config = family.name, family.config
    if not (isinstance(config, type) and issubclass(config, FamilyConfig)):
        yield f"`config` is {config!r}", "a subclass of weft.config.base.FamilyConfig"
        return
    info = config.model_fields["family"]
    literal = get_origin(info.annotation) is Literal
    if literal and get_args(info.annotation) != (name,):
        says = ", ".join(map(repr, get_args(info.annotation)))
        yield f"`family` of {config.__name__} is Literal[{says}]", f'Literal["{name}"]'
    elif not (info.is_required() or info.default == name):
        yield f"`family` of {config.__name__} is {info.default!r} by default", f'"{name}"'


def _line(module: ModuleType) -> str:
    """The file:line where the module first assigns FAMILY; the file alone if it does not."""
    file = place(module)
    with open(file) as lines:
        numbers = [n for n, line in enumerate(lines, start=1) if line.startswith("FAMILY")]
    return f"{file}:{numbers[0]}" if numbers else file
