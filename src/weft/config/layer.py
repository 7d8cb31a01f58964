"""Layers of a config (presets, files, overrides), and how they are merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weft.config.yaml import KeyPath
from weft.errors import ConfigError

LENGTHS = {"steps": "epochs", "epochs": "steps"}
"""The two options of a run's length, each with the other one, which it replaces."""

_MOST_PARTS = 16


@dataclass
class Layer:
    """Plain nested values, and where each key was set; layers merge onto one another.

    Attributes:
        values: the values.
        origins: key path -> where it was set; keys of the layer merged last come first.
    """

    values: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def put(self, key: str, value: Any, origin: str) -> None:
        """Sets the dotted `key`.

        Raises:
            ConfigError: if it has more parts than any option.
        """
        if key.count(".") >= _MOST_PARTS:
            raise ConfigError(
                f"a key of {key.count('.') + 1:,} parts, `{key[:40]}…`",
                where=origin,
                expected=f"at most {_MOST_PARTS} parts with dots between them",
            )
        nested = nest(key, value)
        _merge(self, nested, (), lambda _: origin)

    def origin(self, *paths: KeyPath) -> str:
        """Where the values at `paths` were set, the last layer first; "" for defaults."""
        setters = {self._setter(path) for path in paths}
        found = (where for key, where in self.origins.items() if key in setters)
        return "; ".join(dict.fromkeys(found))

    def _setter(self, path: KeyPath) -> KeyPath | None:
        """The key that set the value at `path`: itself, the nearest above, or the first below."""
        above = (path[:length] for length in range(len(path), -1, -1))
        below = (key for key in self.origins if path and key[: len(path)] == path)
        return next((key for key in (*above, *below) if key in self.origins), None)

    def lay(self, layer: Layer) -> None:
        """Merges `layer` over this one; a layer that sets `steps` unsets `epochs`, and vice
        versa."""
        for one, other in LENGTHS.items():
            if layer.values.get(one) is not None and layer.values.get(other) is None:
                self.values[other] = None
        _merge(self, layer.values, (), layer.origin)
        laid = [path for path in leaves(layer.values) if path in self.origins]
        self.origins = {path: self.origins[path] for path in laid} | self.origins


def _merge(
    target: Layer, values: Mapping[str, Any], path: KeyPath, origin: Callable[[KeyPath], str]
) -> None:
    """Deep-merges `values` below `path`; a section whose `kind` changes is replaced, not merged."""
    into = value_at(target.values, path)
    for key, value in values.items():
        here = (*path, key)
        if not isinstance(value, Mapping):
            into[key] = list(value) if isinstance(value, list) else value
            target.origins[here] = origin(here)
            continue
        old = into.get(key)
        if not isinstance(old, dict) or _other_kind(old, value):
            into[key] = {}
            for known in [k for k in target.origins if k[: len(here)] == here]:
                del target.origins[known]
        _merge(target, value, here, origin)


def _other_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "kind" in old and "kind" in new and old["kind"] != new["kind"]


def nest(key: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` for the dotted key `a.b`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def leaves(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    """Key paths of all values in `value` that are not mappings, or empty ones."""
    if isinstance(value, Mapping) and value:
        return [leaf for key, child in value.items() for leaf in leaves(child, (*path, str(key)))]
    return [path]


def value_at(values: Any, path: KeyPath) -> Any:
    """What lies at `path` in nested mappings.

    Raises:
        KeyError: if nothing does.
    """
    for key in path:
        values = values[key]
    return values
