"""Reads and writes YAML 1.2 scalars (`1e-3` is a number, `no` is text) and remembers lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from weft.errors import ConfigError

KeyPath = tuple[str, ...]

_SCALARS: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: float("nan")),
]


def read_scalar(text: str) -> Any:
    """An unquoted scalar by the core schema of YAML 1.2."""
    for pattern, convert in _SCALARS:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def read_value(text: str, where: str) -> Any:
    """The value of a `key=value` override: a scalar, or a flow list or mapping."""
    if not text.lstrip().startswith(("[", "{", '"', "'")):
        return read_scalar(text.strip())
    values: dict[KeyPath, int] = {}
    return _build(_compose(text, where), (), values, where)


def read_file(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The mapping in a YAML or JSON file, and the line on which each key stands.

    Raises:
        ConfigError: if the file cannot be read, is not valid YAML or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text", where=str(path)) from error
    node = _compose(text, str(path))
    lines: dict[KeyPath, int] = {}
    values = {} if node is None else _build(node, (), lines, str(path))
    if not isinstance(values, dict):
        raise ConfigError(
            "the file holds no mapping", where=str(path), expected="`key: value` lines"
        )
    return values, lines


class _Loader(yaml.SafeLoader):
    """Composes nodes without resolving scalars: `read_scalar` does that."""


_Loader.yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Writes text quoted whenever `read_scalar` would take it for something else."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if isinstance(read_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def write(values: Any) -> str:
    """`values` (plain dictionaries, lists, scalars) as YAML text, keys in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _compose(text: str, where: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"{where}:{mark.line + 1}" if mark else where
        raise ConfigError(f"not valid YAML: {error.problem}", where=line) from error


def _build(node: yaml.Node | None, path: KeyPath, lines: dict[KeyPath, int], where: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("a key must be a word", where=f"{where}:{line}")
            key = str(key_node.value)
            if key in values:
                raise ConfigError(f"key `{key}` appears twice", where=f"{where}:{line}")
            lines[(*path, key)] = line
            values[key] = _build(value_node, (*path, key), lines, where)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, str(i)), lines, where) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return read_scalar(node.value) if node.style is None else node.value
    return None
