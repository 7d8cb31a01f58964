"""`Metric`: name, direction, unit and meaning of a number that a task measures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal

SPLITS = ("train", "val", "test")
ARROWS = {"lower": "↓", "higher": "↑"}
"""Arrow that shows the direction in which a metric improves."""


@dataclass(frozen=True)
class Metric:
    """What a task measures, declared once for loop, tables, claims, plots and pages.

    Args:
        name: as `evaluate` returns it; `step_rmse_px_*` stands for all names that match.
        better: the direction in which it improves.
        unit: such as `px` or `nats`; "" for shares and numbers without a unit.
        about: what it is, in one sentence.
    """

    name: str
    better: Literal["lower", "higher"]
    unit: str = ""
    about: str = ""

    def covers(self, name: str) -> bool:
        """Whether `name`, with or without a split such as `val/` before it, is this metric."""
        return fnmatchcase(by_split(name)[1], self.name)

    def improves(self, value: float, on: float | None) -> bool:
        """Whether `value` is better than `on`; false if they are equal or `value` is not finite."""
        if not math.isfinite(value):
            return False
        if on is None or not math.isfinite(on):
            return True
        return value < on if self.better == "lower" else value > on

    def plain(self) -> dict[str, str]:
        """The fields as plain values, as in a run's status.json."""
        return dict(vars(self))


def by_split(name: str) -> tuple[str, str]:
    """`val/loss` as (`val`, `loss`); a name without a split as ("", name)."""
    head, _, rest = name.partition("/")
    return (head, rest) if head in SPLITS and rest else ("", name)


def axis_words(metric: Metric | None) -> str:
    """The label of an axis that shows `metric`: its unit, and which way is better."""
    if metric is None:
        return ""
    wish = f"{metric.better} is better"
    return f"{metric.unit}, {wish}" if metric.unit else wish


def declared(entries: Iterable[Mapping[str, Any]]) -> tuple[Metric, ...]:
    """The metrics that a status.json lists; fields that this version does not know are ignored."""
    known = {field.name for field in fields(Metric)}
    return tuple(
        Metric(**{key: value for key, value in entry.items() if key in known}) for entry in entries
    )


def led_by(name: str, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """`metrics` with the one called `name` first, so that it selects the best weights."""
    return tuple(sorted(metrics, key=lambda metric: metric.name != name))


def find(metrics: Iterable[Metric], name: str) -> Metric | None:
    """The first of `metrics` that covers `name`, or None."""
    return next((metric for metric in metrics if metric.covers(name)), None)
