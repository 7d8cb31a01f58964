"""Reads YAML by the rules of 1.2 (`1e-3` is a number, `no` is text) with line numbers; writes it.

What is read is bounded: bytes of a file, depth, number of values (those behind an alias counted
each time), size of integers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

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


# Bounds far beyond any config: bytes of a file, levels, values, bits of an integer.
_MOST_BYTES = 256 * 1024
_MOST_LEVELS = 32
_MOST_VALUES = 10_000
_MOST_BITS = 1024

_HALF = re.compile("[\ud800-\udfff]")


def read_scalar(text: str, where: str = "") -> Any:
    """An unquoted scalar by the core schema of YAML 1.2.

    Raises:
        ConfigError: if it is an integer of more than 1024 bits.
    """
    for pattern, convert in _SCALARS:
        if pattern.fullmatch(text):
            # Python refuses to convert very long integers; no float is that large either.
            value = convert(text) if len(text) <= _MOST_BITS else 1 << _MOST_BITS
            if isinstance(value, int) and value.bit_length() > _MOST_BITS:
                raise ConfigError(
                    f"a number of {len(text):,} digits",
                    where=where,
                    expected="one below 1e300; text of digits stands in quotes",
                )
            return value
    return text


def is_number(value: Any) -> bool:
    """Whether a plain value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_value(text: str, where: str) -> Any:
    """The value of a `key=value` override: a scalar, or a flow list or mapping.

    Raises:
        ConfigError: if it is not YAML, or exceeds the bounds of a config.
    """
    _check_text(text, where, lined=False)
    if not text.lstrip().startswith(("[", "{", '"', "'")):
        return read_scalar(text.strip(), where)
    return _Builder(where, lined=False).value(_compose(text, where, lined=False), ())


def read_file(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The mapping in a YAML or JSON file, and the line number of each key.

    Raises:
        ConfigError: if the file cannot be read, is not valid YAML, holds no mapping, or exceeds the
            bounds of a config.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", where=str(path)) from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(
            f"{path.name} is too long for a config",
            where=str(path),
            expected=f"at most {_MOST_BYTES:,} bytes",
        )
    values, lines = _parsed(content, path)
    return _copied(values), dict(lines)


@lru_cache(maxsize=128)
def _parsed(content: bytes, path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """As `read_file`, from the file's content.

    Cached, since a sweep or a list of recipes reads the same few files again and again, and parsing
    takes a hundred times as long as copying the values.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path.name} is not text in UTF-8",
            where=f"{path}:{line}",
            expected="UTF-8",
            hint=f"found: byte 0x{content[error.start]:02x}",
        ) from error
    _check_text(text, str(path))
    builder = _Builder(str(path))
    node = _compose(text, str(path))
    values = {} if node is None else builder.value(node, ())
    if not isinstance(values, dict):
        raise ConfigError(
            "the file holds no mapping", where=str(path), expected="`key: value` lines"
        )
    return values, builder.lines


def _copied(value: Any) -> Any:
    """A deep copy of plain values."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


class _Loader(yaml.SafeLoader):
    """Composes nodes within bounds, without resolving scalars, which `read_scalar` does."""

    level = values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node; refuses tags, too many levels and too many values."""
        peek: Any = self.peek_event
        event = peek()
        self.level, self.values = self.level + 1, self.values + 1
        problem = ""
        if self.level > _MOST_LEVELS:
            problem = f"more than {_MOST_LEVELS} levels, one inside the other"
        elif self.values > _MOST_VALUES:
            problem = f"more than {_MOST_VALUES:,} values"
        elif getattr(event, "tag", None) not in (None, "!"):
            problem = f"the tag `{event.tag}`: a config holds plain values, without tags"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.level -= 1
        return node

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Refuses too many nested brackets early: the scanner looks ahead, in quadratic time."""
        if self.flow_level > _MOST_LEVELS:
            problem = f"more than {_MOST_LEVELS} levels, one inside the other"
            mark: Any = self.get_mark
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark())
        scanner: Any = super()
        scanner.fetch_flow_collection_start(token)


_Loader.yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `read_scalar` would read as another type."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = not any(pattern.fullmatch(text) for pattern, _ in _SCALARS)
    style = None if plain and text != "<<" else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def write(values: Any) -> str:
    """`values` (plain dictionaries, lists, scalars) as YAML text, keys in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _check_text(text: str, where: str, *, lined: bool = True) -> None:
    """Refuses control characters and bytes that are not UTF-8, naming the line."""
    if found := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ConfigError(
            "bytes that are no UTF-8 stand there"
            if "\ud800" <= found[0] <= "\udfff"
            else f"the control character {found[0]!a} stands there",
            where=f"{where}:{line}" if lined else where,
            expected="printable text",
            hint=f'inside double quotes it is "\\x{ord(found[0]):02x}"' if found[0] < " " else "",
        )


def _compose(text: str, where: str, *, lined: bool = True) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}:{mark.line + 1}" if mark and lined else where
        raise ConfigError(f"not valid YAML: {error.problem}", where=place) from error
    # An escape or a directive with an impossible number, such as "\U7FFFFFFF".
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"not valid YAML: {error}", where=where) from error


class _Builder:
    """Makes plain values of YAML nodes.

    Args:
        where: the file, or the place on the command line.
        lined: whether messages name the line.

    Attributes:
        lines: key path -> line.
    """

    def __init__(self, where: str, *, lined: bool = True) -> None:
        self.where, self.lined = where, lined
        self.lines: dict[KeyPath, int] = {}
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node | None, path: KeyPath) -> Any:
        """The value of `node`, whose key path is `path`."""
        if node is None:
            return None
        self._count += 1
        if self._count > _MOST_VALUES:
            self._refuse(node, f"aliases stand for more than {_MOST_VALUES:,} values")
        if isinstance(node, yaml.ScalarNode):
            self._check_word(node)
            return node.value if node.style else read_scalar(node.value, self._place(node))
        if id(node) in self._open:
            self._refuse(node, "an alias stands inside of what it stands for")
        if len(self._open) >= _MOST_LEVELS:
            self._refuse(node, f"more than {_MOST_LEVELS} levels, one inside the other")
        self._open.add(id(node))
        value: Any = (
            self._mapping(node, path)
            if isinstance(node, yaml.MappingNode)
            else [self.value(item, (*path, str(i))) for i, item in enumerate(node.value)]
        )
        self._open.remove(id(node))
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "a key must be a word")
            self._check_word(key_node)
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                self._refuse(
                    key_node, "merge keys (`<<`) are not read",
                    expected="the keys themselves, written out; or a second file, merged over it",
                )  # fmt: skip
            if key in values:
                self._refuse(key_node, f"key `{key}` appears twice")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, (*path, key))
        return values

    def _check_word(self, node: yaml.ScalarNode) -> None:
        """Refuses lone surrogates, which an escape can name but UTF-8 cannot encode."""
        if _HALF.search(node.value):
            self._refuse(node, "a character that UTF-8 cannot write", "printable text")

    def _place(self, node: yaml.Node) -> str:
        return f"{self.where}:{node.start_mark.line + 1}" if self.lined else self.where

    def _refuse(self, node: yaml.Node, problem: str, expected: str = "") -> NoReturn:
        raise ConfigError(problem, where=self._place(node), expected=expected)
