"""Finds presets by name: files of a family, or rows of a table it ships."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

from weft.config.explain import suggest
from weft.config.family import Family, Preset, Registry
from weft.config.layer import Layer, leaves
from weft.config.yaml import KeyPath, read_file
from weft.errors import ConfigError, UsageError

_MOST_KEYS = 500
_FILE_ENDINGS = (".yaml", ".yml", ".json")


def preset_names(family: Family) -> list[str]:
    """Names of the family's presets: files first, then rows of its table."""
    files = sorted(path.stem for path in (family.home / "presets").glob("*.yaml"))
    return [*files, *family.generated]


def presets(family: Family) -> dict[str, Preset]:
    """All presets of the family, by name."""
    return {name: preset(family, name) for name in preset_names(family)}


def preset(family: Family, name: str) -> Preset:
    """The family's preset called `name`.

    Raises:
        UsageError: if there is none.
    """
    path = family.home / "presets" / f"{name}.yaml"
    if path.is_file():
        comment = path.read_text().partition("\n")[0].lstrip("# ").strip()
        return Preset(*read_file(path), comment)
    if name in family.generated:
        return family.generated[name]
    names = preset_names(family)
    raise UsageError(
        f"family `{family.name}` has no preset `{name}`",
        expected=f"one of {', '.join(names[:12])}{' …' if len(names) > 12 else ''}",
        hint=suggest(name, names, f"`weft recipes {family.name}` lists them"),
    )


def base_layer(word: str, registry: Registry, notices: list[str]) -> tuple[str, Layer]:
    """The full name of a recipe or file, and the layer of values it sets.

    Raises:
        UsageError: if there is no such recipe or file.
        ConfigError: if the file names no family, or is no config.
    """
    if isfile(word):
        values, lines = read_file(Path(word))
        if values.get("family") not in registry.names():
            raise ConfigError(
                "the file does not say which family it configures",
                where=word,
                expected=f"`family: NAME` with one of {', '.join(registry.names())}",
            )
        return word, _labelled(_counted(values, word), lines, word)
    name, _, wanted = _recipe(word, registry, notices).partition("/")
    family = registry.find(name)
    chosen = preset(family, wanted or family.default)
    recipe = f"{name}/{wanted or family.default}"
    return recipe, _labelled({**chosen.values, "family": name}, chosen.lines, f"preset {recipe}")


def _counted(values: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Refuses a file with far more keys than any config: searching suggestions for each would take
    too long."""
    if (count := len(leaves(values))) > _MOST_KEYS:
        raise ConfigError(
            f"the file sets {count:,} keys", where=where, expected=f"at most {_MOST_KEYS}"
        )
    return values


def _labelled(values: Mapping[str, Any], lines: Mapping[KeyPath, int], label: str) -> Layer:
    return Layer(dict(values), {(): label, **{key: f"{label}:{n}" for key, n in lines.items()}})


def _recipe(word: str, registry: Registry, notices: list[str]) -> str:
    """`word` as family/preset; a path to no file means the preset that has the file's name."""
    if word.partition("/")[0] in registry.names() and not word.endswith(_FILE_ENDINGS):
        return word
    recipes = [f"{name}/{each}" for name, known in registry.survey()[0].items() for each in known]
    if word.endswith(_FILE_ENDINGS):
        named = [recipe for recipe in recipes if recipe.partition("/")[2] == Path(word).stem]
        if len(named) == 1:
            notices.append(f"there is no file `{word}`; took the preset `{named[0]}`")
            return named[0]
    if "=" in word or not word.strip():
        raise UsageError(
            f"`{word}` sets no option", expected="KEY=VALUE, without blanks around the `=`"
        )
    if isdir(word):
        raise UsageError(
            f"`{word}` is a folder, and not that of a run",
            expected="a recipe such as `cet/digits`, or a YAML file",
            hint="`weft recipes` lists the recipes",
        )
    raise UsageError(
        f"there is no file `{word}`"
        if word.endswith(_FILE_ENDINGS)
        else f"there is no recipe `{word}`",
        hint=suggest(word, recipes, "`weft recipes` lists them; `KEY=VALUE` sets an option"),
    )
