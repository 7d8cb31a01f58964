"""Makes a config of plain values, or lists all mistakes in them at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from weft.config.base import FamilyConfig
from weft.config.explain import Origin, Problem, explain, key_path, section_at
from weft.config.layer import leaves, value_at
from weft.config.rule import BROKEN
from weft.config.yaml import KeyPath
from weft.errors import ConfigError

_WIDEST = 2**63
_WIDE = "a whole number has 63 bits at most, and this one has"


def check(recipe: type[FamilyConfig], values: Mapping[str, Any], origin: Origin) -> FamilyConfig:
    """A config with `values`.

    Args:
        recipe: the config class of a recipe.
        values: plain nested values; missing ones take their defaults.
        origin: says where the values at key paths were set.

    Raises:
        ConfigError: listing every invalid value, and every broken rule that does not depend on an
            invalid one.
    """
    problems: list[Problem] = [*_no_numbers(recipe, values)]
    odd = {problem["loc"] for problem in problems}
    try:
        config = recipe.model_validate(_without(values, odd) if odd else values)
        if not problems:
            return config
    except ValidationError as error:
        problems += error.errors()
    wrong = {key_path(problem, recipe, values) for problem in problems} - {()}
    if wrong - odd:
        problems += _broken(recipe, _without(values, wrong), wrong)
    raise ConfigError(explain(problems, recipe, values, origin))


def _no_numbers(recipe: type[FamilyConfig], values: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems that pydantic would let pass: true and false given as numbers, and integers of more
    than 63 bits, which no tensor holds."""
    for path in leaves(values):
        section = section_at(recipe, path[:-1], values) if path else None
        info = section.model_fields.get(path[-1]) if section is not None else None
        value = value_at(values, path)
        for each in value if isinstance(value, list | tuple) else (value,):
            problem = {"loc": path, "input": value}
            if isinstance(each, bool):
                if info is not None and not _takes_bool(info.annotation):
                    yield {**problem, "type": "bool_as_number"}
                    break
            elif isinstance(each, int) and abs(each) >= _WIDEST:
                yield {**problem, "type": "value_error", "msg": f"{_WIDE} {each.bit_length()}"}
                break


def _takes_bool(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_bool, get_args(annotation)))


def _broken(
    recipe: type[FamilyConfig], sound: Mapping[str, Any], wrong: Collection[KeyPath]
) -> list[Problem]:
    """The rules that the valid values `sound` break, except those that depend on a `wrong` key."""
    try:
        recipe.model_validate(sound)
    except ValidationError as error:
        broken = [problem for problem in error.errors() if problem["type"] == BROKEN]
        return [problem for problem in broken if not _touches(problem["ctx"]["keys"], wrong)]
    return []


def _touches(keys: Collection[str], wrong: Collection[KeyPath]) -> bool:
    pairs = ((key.split("."), path) for key in keys for path in wrong)
    return any(all(a == b for a, b in zip(key, path, strict=False)) for key, path in pairs)


def _without(values: Mapping[str, Any], paths: Collection[KeyPath]) -> dict[str, Any]:
    """`values` without those at `paths`; a list with a wrong item is left out as a whole."""
    kept = {}
    for key, value in values.items():
        below = [path[1:] for path in paths if path[0] == key]
        if not below:
            kept[key] = value
        elif () not in below and isinstance(value, Mapping):
            kept[key] = _without(value, below)
    return kept
