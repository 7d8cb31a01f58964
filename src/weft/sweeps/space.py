"""Parses the words of a sweep, such as `delay=1,3,5 optim.lr=log:1e-4:1e-2 seed=0..2`."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from os.path import isfile

from weft.config.yaml import read_value
from weft.errors import ConfigError, UsageError, WeftError

LIMIT = 10_000
"""Most points of a grid; more are taken for a typing mistake."""

_OVERRIDE = re.compile(r"^([A-Za-z_][\w-]*(?:\.[\w-]+)*)=(.*)$", re.DOTALL)
_RANGE = re.compile(r"^([-+]?\d+)\.\.([-+]?\d+)$")
_SPACING = re.compile(r"^(lin|log):(.*)$")
_OWNED = {
    "run.dir": "a sweep gives each point its own directory",
    "run.name": "a sweep names its points after their values",
}


@dataclass(frozen=True)
class Space:
    """The settings of a sweep.

    Attributes:
        words: every word in the order typed: recipes, files, fixed overrides, and axes.
        axes: key -> its values as YAML text, in the order typed; at least two values.
    """

    words: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]

    @property
    def fixed(self) -> list[str]:
        """The words that all points share."""
        return [word for word in self.words if self.axis_of(word) is None]

    def axis_of(self, word: str) -> str | None:
        """The key of the axis that `word` is, or None for a fixed word."""
        key = word.partition("=")[0]
        return key if "=" in word and key in self.axes else None


def parse(words: Sequence[str | PathLike[str]]) -> Space:
    """The grid that `words` span.

    A `key=value` word lists values separated by commas, within brackets or without; each is a
    scalar, a nested list (`x=[[1,2],[3,4]]`), a range of integers `0..4` (both ends included), or
    `lin:FROM:TO[:N]` and `log:FROM:TO[:N]`, N values (5 by default) spaced evenly or by equal
    ratios. Quoted text is one value. A key with one value stays fixed; words that are no
    override (recipes, files) are passed on.

    Raises:
        ConfigError: listing every word that cannot be read.
    """
    kept: list[str] = []
    axes: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    problems: list[WeftError] = []
    number = 0
    for word in [fspath(each) for each in words]:
        match = _OVERRIDE.match(word)
        if match is None or isfile(word):
            kept.append(word)
            continue
        number += 1
        key, text = match[1], match[2]
        where = f"command line, override {number}: {word}"
        try:
            _check_key(key, seen, where)
            values = _values(text, where)
        except WeftError as problem:
            problems.append(problem)
            continue
        finally:
            seen.add(key)
        if len(values) == 1:
            kept.append(f"{key}={values[0]}")
        else:
            kept.append(word)
            axes[key] = tuple(values)
    size = math.prod(len(values) for values in axes.values())
    if size > LIMIT:
        counts = " x ".join(str(len(values)) for values in axes.values())
        problems.append(
            UsageError(
                f"the grid has {counts} = {size:,} points",
                expected=f"at most {LIMIT:,}",
                hint="give fewer values to an axis, or several sweeps",
            )
        )
    if problems:
        raise ConfigError(problems)
    return Space(tuple(kept), axes)


def _check_key(key: str, seen: Collection[str], where: str) -> None:
    """Refuses a key that the sweep itself sets, or that was given before."""
    if key in _OWNED:
        raise UsageError(f"`{key}` cannot be set: {_OWNED[key]}", where=where)
    if key in seen:
        raise UsageError(
            f"`{key}` is given twice", where=where, expected="all its values in one word"
        )


def _values(text: str, where: str) -> list[str]:
    """Every value that the right-hand side of a word lists, as YAML text."""
    items = _split(text, where)
    if len(items) == 1 and items[0].startswith("[") and items[0].endswith("]"):
        items = _split(items[0][1:-1], where)
    if len(items) == 1 and not items[0]:
        if text.strip() == "[]":
            raise UsageError(
                "no values between the brackets",
                where=where,
                expected="values such as `[1,2]`; the empty list itself is `[[]]`",
            )
        return items
    values = [value for item in items for value in _expand(item, where)]
    known: list[tuple[bool, object]] = []
    for value in values:
        meaning = read_value(value, where)
        # Unlike in Python, `true` is not `1`; but `1` is `1.0`.
        if (isinstance(meaning, bool), meaning) in known:
            raise UsageError(
                f"the value `{value}` is listed twice", where=where, expected="each value once"
            )
        known.append((isinstance(meaning, bool), meaning))
    return values


def _split(text: str, where: str) -> list[str]:
    """Cuts at the commas that lie outside quotes, brackets and braces."""
    items, start, quote, last = [], 0, "", ","
    closing: list[str] = []
    for position, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and last in ",[{:":
            quote = char
        elif char in "[{":
            closing.append("]" if char == "[" else "}")
        elif char in "]}":
            if not closing or closing.pop() != char:
                raise UsageError(f"`{char}` closes nothing", where=where)
        elif char == "," and not closing:
            items.append(text[start:position].strip())
            start = position + 1
        last = char if not char.isspace() else last
    if quote or closing:
        raise UsageError(f"`{quote or closing[-1]}` is missing at the end", where=where)
    return [*items, text[start:].strip()]


def _expand(item: str, where: str) -> list[str]:
    if match := _RANGE.match(item):
        return _range(int(match[1]), int(match[2]), item, where)
    if match := _SPACING.match(item):
        return _spaced(match[1], match[2].split(":"), item, where)
    if not item:
        raise UsageError(
            "a value is missing beside a comma",
            where=where,
            expected="values such as `1,2,3`; the empty text itself is `''`",
        )
    return [item]


def _range(first: int, last: int, item: str, where: str) -> list[str]:
    if last < first:
        raise UsageError(
            f"the range `{item}` runs backwards", where=where, expected=f"`{last}..{first}`"
        )
    if last - first >= LIMIT:
        raise UsageError(
            f"the range `{item}` has {last - first + 1:,} values",
            where=where,
            expected=f"at most {LIMIT:,}",
        )
    return [str(value) for value in range(first, last + 1)]


def _spaced(kind: str, parts: list[str], item: str, where: str) -> list[str]:
    """The values of `lin:` or `log:`: the ends as typed, and rounded numbers between them."""
    form = f"`{kind}:FROM:TO` or `{kind}:FROM:TO:N` with N from 2 to {LIMIT:,}"
    try:
        low, high = (float(part) for part in parts[:2])
        count = int(parts[2]) if len(parts) == 3 else 5
    except ValueError:
        raise UsageError(f"cannot read `{item}`", where=where, expected=form) from None
    if len(parts) > 3 or not 2 <= count <= LIMIT or not math.isfinite(low + high):
        raise UsageError(f"cannot read `{item}`", where=where, expected=form)
    if kind == "log" and min(low, high) <= 0:
        raise UsageError(
            f"`{item}` needs positive ends", where=where, expected="FROM > 0 and TO > 0"
        )
    shares = [step / (count - 1) for step in range(1, count - 1)]
    if kind == "log":
        inner = [_round(low * (high / low) ** share, 4) for share in shares]
    else:
        inner = [_round(low + (high - low) * share, 12) for share in shares]
    return [parts[0].strip(), *inner, parts[1].strip()]


def _round(value: float, digits: int) -> str:
    """`value` to `digits` significant digits, whole numbers without a decimal point."""
    value = float(f"{value:.{digits}g}")
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
