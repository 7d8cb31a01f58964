"""Turns recipe names, files and `key=value` words into one validated config with origins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike, fspath
from os.path import isfile
from typing import Any

from weft.config.base import FamilyConfig
from weft.config.check import check
from weft.config.family import Family, Registry
from weft.config.layer import Layer, leaves, value_at
from weft.config.presets import base_layer
from weft.config.recipe import defaults_of, recipe_class
from weft.config.rule import needs_at
from weft.config.yaml import KeyPath, read_value
from weft.errors import ConfigError, UsageError, WeftError
from weft.shell import quoted, words_of

_OVERRIDE = re.compile(r"^([A-Za-z_][\w-]*(?:\.[\w-]+)*)=(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Resolved:
    """A config and where each of its values came from.

    Attributes:
        config: the validated config.
        recipe: the words that named it, as a shell takes them, e.g. `cet/mnist`.
        origin: key path -> "preset cet/mnist:4", "my.yaml:7", "command line, override 2", or ""
            for a default.
        notices: sentences to tell the user once, such as old keys that were translated.
    """

    config: FamilyConfig
    recipe: str
    origin: Callable[[KeyPath], str]
    notices: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The words that named it, with blanks between them and no quotes."""
        return " ".join(words_of(self.recipe))


def load(
    words: Sequence[str | PathLike[str]],
    registry: Registry,
    overrides: Mapping[str, Any] | None = None,
) -> Resolved:
    """Resolves recipe names, files and overrides, lowest first, into a validated config.

    Args:
        words: recipe names (`cet/mnist`, `cet`), YAML or JSON files, and `key=value`.
        registry: where families are found.
        overrides: Python values by dotted key (or nested mappings), applied last.

    Raises:
        ConfigError: listing every mistake with its origin.
        UsageError: if no recipe is named, or one that does not exist.
    """
    texts = _texts(words)
    bases = [text for text in texts if not is_override(text)]
    if not bases:
        raise UsageError(
            "no recipe given",
            expected="a recipe such as `cet/digits`, or a YAML file",
            hint="`weft recipes` lists what there is",
        )
    notices: list[str] = []
    named = [base_layer(word, registry, notices) for word in bases]
    layers = [layer for _, layer in named]
    problems: list[WeftError] = []
    line = _command_line([text for text in texts if is_override(text)], problems)
    arguments = Layer({})
    for key, value in (overrides or {}).items():
        arguments.put(key, _typed(value), f"argument `{key}`")
    layers += [line, arguments]

    asked = {str(layer.values["family"]) for layer in layers if "family" in layer.values}
    if len(asked) > 1:
        raise UsageError(
            f"recipes of different families cannot be merged: {', '.join(sorted(asked))}"
        )
    family = registry.find(asked.pop())
    recipe = recipe_class(family)
    tree = Layer(defaults_of(recipe))
    for layer in layers:
        tree.lay(_spelt_out(_translate(layer, family, notices)))
    try:
        config = check(recipe, tree.values, tree.origin)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    notices += _without_effect(config, tree, defaults_of(recipe))
    words_named = " ".join(quoted(name) for name, _ in named)
    return Resolved(config, words_named, tree.origin, tuple(dict.fromkeys(notices)))


def _texts(words: Sequence[str | PathLike[str]]) -> list[str]:
    """Words and paths as text; whatever else Python code gives is refused."""
    for word in words:
        if not isinstance(word, str | PathLike) or isinstance(fspath(word), bytes):
            raise UsageError(
                f"{word!r} is no word of a config",
                expected="a recipe such as `cet/digits`, a file, or `key=value`, each by itself",
                hint="keyword arguments set options: `delay=20`, `optim={'lr': 1e-3}`",
            )
    return [fspath(word) for word in words]


def _command_line(overrides: Sequence[str], problems: list[WeftError]) -> Layer:
    """The layer of `key=value` words; those that cannot be read are added to `problems`."""
    layer = Layer({})
    for number, word in enumerate(overrides, start=1):
        key, _, text = word.partition("=")
        where = f"command line, override {number}"
        try:
            layer.put(key, read_value(text, where), where)
        except ConfigError as error:
            problems.append(error)
    return layer


def _without_effect(
    config: FamilyConfig, tree: Layer, defaults: Mapping[str, Any]
) -> Iterator[str]:
    """Sentences on options that somebody set, a preset left out, and that have no effect here."""
    needs = config.all_needs()
    for path in leaves(tree.values):
        key, where = ".".join(path), tree.origin(path)
        # As it was given, too: some words stand for others, which the config has in their place.
        unmet = [
            need
            for need in needs_at(needs, key)
            if not (need.is_met(config) or need.is_met(tree.values))
        ]
        if unmet and where and not where.startswith("preset ") and _differs(path, tree, defaults):
            yield f"`{key}` has no effect here, only where {unmet[0]}   ({where})"


def _differs(path: KeyPath, tree: Layer, defaults: Mapping[str, Any]) -> bool:
    """Whether the value at `path` is another one than the default."""
    default: Any = defaults
    for key in path:
        default = default.get(key) if isinstance(default, Mapping) else None
    return bool(_typed(value_at(tree.values, path)) != _typed(default))


def _typed(value: Any) -> Any:
    """A Python value with paths turned into text, and tuples into lists."""
    if isinstance(value, Mapping):
        return {key: _typed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_typed, value)]
    return fspath(value) if isinstance(value, PathLike) else value


def validate(values: Mapping[str, Any], family: Family, where: str) -> FamilyConfig:
    """A config from a complete tree of values, such as a run's `config.yaml`.

    Raises:
        ConfigError: listing every mistake; `where` is their place.
    """
    return check(recipe_class(family), values, lambda *_: where)


def is_override(word: str) -> bool:
    """Whether the word is `key=value`, and not the name of an existing file."""
    return bool(_OVERRIDE.match(word)) and not isfile(word)


def _spelt_out(layer: Layer) -> Layer:
    """`optim.kind: extra:NAME` as the two keys that it is short for."""
    optim = layer.values.get("optim")
    kind = optim.get("kind") if isinstance(optim, Mapping) else None
    if not (isinstance(optim, Mapping) and isinstance(kind, str) and kind.startswith("extra:")):
        return layer
    named = {**optim, "kind": "extra", "name": kind.removeprefix("extra:")}
    origin = layer.origin(("optim", "kind"))
    return Layer({**layer.values, "optim": named}, {**layer.origins, ("optim", "name"): origin})


def _translate(layer: Layer, family: Family, notices: list[str]) -> Layer:
    """Replaces the family's old key names by the new ones, each keeping its origin."""
    if not (family.aliases and layer.values):
        return layer
    result = Layer({})
    for path in leaves(layer.values):
        key, value = ".".join(path), value_at(layer.values, path)
        if key in family.aliases:
            old, (key, convert) = key, family.aliases[key]
            # A value that the converter cannot take, such as a list, is refused at the new key.
            with suppress(TypeError):
                value = convert(value)
            notices.append(f"`{old}` is now `{key}` ({layer.origin(path)})")
        result.put(key, value, layer.origin(path))
    return result
