"""A metric as everyone knows it: its name, which way is better, its unit, and what it says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal

SPLITS = ("train", "val", "test")
ARROWS = {"lower": "↓", "higher": "↑"}
"""Where a metric improves, drawn."""


@dataclass(frozen=True)
class Metric:
    """What a task measures, declared once for loop, tables, claims, plots and pages.

    Args:
        name: as `evaluate` returns it; `step_rmse_px_*` stands for all that begin so.
        better: which way it improves.
        unit: such as `px` or `nats`; "" for shares and numbers without one.
        about: one sentence that says what it is.
    """

    name: str
    better: Literal["lower", "higher"]
    unit: str = ""
    about: str = ""

    def covers(self, name: str) -> bool:
        """Whether it is this metric that is called `name`, with or without a split before it."""
        head, _, rest = name.partition("/")
        return fnmatchcase(rest if head in SPLITS and rest else name, self.name)

    def improves(self, value: float, on: float | None) -> bool:
        """Whether `value` is better than `on`; a tie is not, what is not finite never is."""
        if not math.isfinite(value):
            return False
        if on is None or not math.isfinite(on):
            return True
        return value < on if self.better == "lower" else value > on

    def plain(self) -> dict[str, str]:
        """As it stands in a run's status.json."""
        return dict(vars(self))


def axis_words(metric: Metric | None) -> str:
    """What stands at the axis of `metric` in a figure: its unit, and which way is better."""
    if metric is None:
        return ""
    wish = f"{metric.better} is better"
    return f"{metric.unit}, {wish}" if metric.unit else wish


def declared(entries: Iterable[Mapping[str, Any]]) -> tuple[Metric, ...]:
    """The metrics that a status.json lists; what another version of weft said of them is left."""
    known = {field.name for field in fields(Metric)}
    return tuple(
        Metric(**{key: value for key, value in entry.items() if key in known}) for entry in entries
    )


def find(metrics: Iterable[Metric], name: str) -> Metric | None:
    """The first of `metrics` that is called `name`, or None."""
    return next((metric for metric in metrics if metric.covers(name)), None)
