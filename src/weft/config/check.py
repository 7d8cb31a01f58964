"""Makes a config of plain values, or lists at once all that is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from weft.config.base import FamilyConfig
from weft.config.explain import Origin, Problem, explain, key_path
from weft.config.rule import BROKEN
from weft.config.yaml import KeyPath
from weft.errors import ConfigError


def check(recipe: type[FamilyConfig], values: Mapping[str, Any], origin: Origin) -> FamilyConfig:
    """A config with `values`.

    Args:
        recipe: the config class of a recipe.
        values: plain nested values; what is missing is taken from the defaults.
        origin: where the values at key paths were set.

    Raises:
        ConfigError: listing every invalid value, and every rule that is broken whatever those
            values should have been.
    """
    try:
        return recipe.model_validate(values)
    except ValidationError as error:
        problems: list[Problem] = [*error.errors()]
        wrong = {key_path(problem, recipe, values) for problem in problems} - {()}
        if wrong:
            problems += _broken(recipe, _without(values, wrong), wrong)
        raise ConfigError(explain(problems, recipe, values, origin)) from error


def _broken(
    recipe: type[FamilyConfig], sound: Mapping[str, Any], wrong: Collection[KeyPath]
) -> list[Problem]:
    """The rules that `sound` breaks, without those about a key at, above or below `wrong`."""
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
    """`values` less what stands at `paths`; an item is left out with its whole list."""
    kept = {}
    for key, value in values.items():
        below = [path[1:] for path in paths if path[0] == key]
        if not below:
            kept[key] = value
        elif () not in below and isinstance(value, Mapping):
            kept[key] = _without(value, below)
    return kept
