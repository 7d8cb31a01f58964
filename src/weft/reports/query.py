"""Queries over runs: facts by name, and conditions such as `test/accuracy>.9 and delay=50`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weft.config.explain import suggest
from weft.config.layer import dotted
from weft.config.yaml import is_number, read_value
from weft.errors import ConfigError, UsageError
from weft.reports.settings import same_value
from weft.reports.tables import Cell, Column, Table
from weft.run.registry import Run, declared_by

Facts = Mapping[str, Any]
Condition = Callable[[Facts], bool]

_TOKEN = re.compile(r"""\s*(\(|\)|"[^"]*"|'[^']*'|>=|<=|!=|==|[=<>~]|[^\s()<>=!~"']+)""")
_COMPARES = ("=", "==", "!=", "<", "<=", ">", ">=", "~")
_FORM = "conditions such as `test/accuracy>.9 and delay=50`, or `tags~night`, with and, or, not, ()"


def facts(run: Run) -> dict[str, Any]:
    """Everything that is known of a run, by name: what it is, its config, its metrics.

    Keys of the config are dotted (`optim.lr`); metrics have their split (`test/accuracy`).
    """
    known: dict[str, Any] = {
        "run": str(run.path),
        "name": run.name,
        "state": run.state,
        "recipe": run.status.get("recipe", ""),
        "step": run.status["step"],
        "seconds": run.seconds,
        "started": run.status.get("started", ""),
        "device": run.device,
        "parameters": run.resolved.get("parameters"),
        "continues": run.continues,
        **dotted(run.config),
    }
    section = run.config.get("run") or {}
    known |= {"tags": section.get("tags") or [], "note": section.get("note") or ""}
    known["family"] = run.family
    return known | {name: math.nan if v is None else v for name, v in run.metrics.items()}


def select(runs: Iterable[Run], text: str) -> list[Run]:
    """The runs for which the conditions in `text` hold.

    A condition on a name that a run does not have is false for that run.

    Raises:
        UsageError: if the text cannot be parsed, or no run has a name in it.
    """
    found = [(run, facts(run)) for run in runs]
    names: list[str] = []
    condition = _Reader(text, names).all()
    check_names("--where", names, [known for _, known in found])
    return [run for run, known in found if condition(known)]


def ordered(runs: Iterable[Run], key: str) -> list[Run]:
    """The runs sorted by the fact `key`, ascending, or descending for `-key`.

    Runs without it come last.

    Raises:
        UsageError: if no run has it.
    """
    name, falling = key.removeprefix("-"), key.startswith("-")
    found = [(run, facts(run)) for run in runs]
    check_names("--sort", [name], [known for _, known in found])
    has = [pair for pair in found if not _absent(pair[1].get(name))]
    has.sort(key=lambda pair: _place(pair[1][name]), reverse=falling)
    return [run for run, _ in has] + [run for run, known in found if _absent(known.get(name))]


def tabulated(runs: Sequence[Run], keys: Sequence[str]) -> Table:
    """The runs as a table with a column for each of `keys`.

    Raises:
        UsageError: if no run has one of them.
    """
    known = [facts(run) for run in runs]
    check_names("--columns", keys, known)
    declared = declared_by(runs)
    columns = []
    for key in keys:
        numbers = any(is_number(each.get(key)) for each in known)
        column = Column.of(key, declared) if numbers else Column(key, role="text")
        columns.append(replace(column, role="status") if key == "state" else column)
    rows = tuple({key: _cell(each.get(key)) for key in keys} for each in known)
    return Table(tuple(columns), rows)


def check_names(option: str, names: Sequence[str], known: Sequence[Facts]) -> None:
    """Refuses names that none of the runs has; without runs, every name is accepted.

    Raises:
        UsageError: naming similar ones.
    """
    everything = list(dict.fromkeys(key for each in known for key in each))
    for name in names:
        if known and name not in everything:
            raise UsageError(
                f"no run has `{name}`",
                where=option,
                expected="a metric such as `test/loss`, a key of the config, or one of run, name, "
                "state, family, recipe, step, seconds, started, device, parameters, tags, note",
                hint=suggest(name, everything, ""),
            )


class _Reader:
    """Recursive-descent parser of conditions: `or` binds least, then `and`, then `not`."""

    def __init__(self, text: str, names: list[str]) -> None:
        self.text, self.names = text, names
        self.tokens: list[str] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._wrong(f"`{text[place:].strip()[0]}` has no meaning here")
            self.tokens.append(match[1])
            place = match.end()

    def all(self) -> Condition:
        """The whole text."""
        found = self._either()
        if self.tokens:
            raise self._wrong(f"`{self.tokens[0]}` comes too much")
        return found

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._next("or"):
            parts.append(self._both())
        return lambda known: any(part(known) for part in parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._next("and"):
            parts.append(self._one())
        return lambda known: all(part(known) for part in parts)

    def _one(self) -> Condition:
        if self._next("not"):
            inner = self._one()
            return lambda known: not inner(known)
        if self._next("("):
            inner = self._either()
            if not self._next(")"):
                raise self._wrong("`)` is missing")
            return inner
        name, sign, value = (self._take() for _ in range(3))
        if sign not in _COMPARES:
            raise self._wrong(f"after `{name}` stands `{sign}`, which compares nothing")
        self.names.append(name)
        return _comparison(name, sign, value)

    def _next(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False

    def _take(self) -> str:
        if not self.tokens:
            raise self._wrong("it ends too early")
        return self.tokens.pop(0)

    def _wrong(self, message: str) -> UsageError:
        return UsageError(f"cannot read `{self.text}`: {message}", where="--where", expected=_FORM)


def _comparison(name: str, sign: str, text: str) -> Condition:
    quoted = text[0] in "\"'"
    plain = text[1:-1] if quoted else text
    try:
        value = plain if quoted else read_value(text, "--where")
    except ConfigError:
        value = plain

    def holds(known: Facts) -> bool:
        has = known.get(name)
        if name not in known or (_absent(has) and sign not in ("=", "==", "!=")):
            return False
        if sign == "~":
            words = has if isinstance(has, list | tuple) else [has]
            return any(plain.casefold() in str(word).casefold() for word in words)
        if sign in ("=", "==", "!="):
            return (same_value(has, value) or str(has) == plain) is (sign != "!=")
        if isinstance(has, str) and isinstance(value, str | int | float):
            return _ordered(has, sign, plain)
        return is_number(has) and is_number(value) and _ordered(has, sign, value)

    return holds


def _ordered(one: Any, sign: str, other: Any) -> bool:
    return bool({"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign])


def _cell(value: Any) -> Cell:
    return value if value is None or isinstance(value, str | int | float | list) else str(value)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _place(value: Any) -> tuple[int, Any]:
    """Sort key that puts numbers before text."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))
