"""The curves of a run: one figure for each quantity it logged."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weft.plots.axes import marks
from weft.plots.images import Named, file_name
from weft.plots.labels import head, label_ends, plain
from weft.plots.style import line_of, style
from weft.reports.tables import MISSING
from weft.task.metric import SPLITS, Metric, axis_words, by_split, find

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

_CLOCKS = ("step", "epoch", "seconds")
_MOST_POINTS = 1200
"""Most points drawn of a curve; a longer one is reduced to the extremes of equal stretches."""


def curves(history: Sequence[Mapping[str, Any]], declared: Sequence[Metric] = ()) -> list[Named]:
    """A figure for each quantity in `metrics.jsonl`, over steps; train, val and test together.

    Args:
        history: the rows; if a step occurs twice (in a resumed run) the later row counts.
        declared: the task's metrics, which give unit and direction of the axes.
    """
    figures = []
    with style():
        for group, series in _groups(history, declared).items():
            name = file_name(group)
            metrics = [find(declared, line.quantity) for line in series]
            about = metrics[0].about if metrics[0] and len({*metrics}) == 1 else ""
            figures.append((name, *_curve_figure(group, series, axis_words(metrics[0]), about)))
    return figures


@dataclass(frozen=True)
class _Series:
    """One line of a curve figure: `y` over `x`, x strictly rising, and its standard error."""

    quantity: str
    member: str
    split: str
    x: Numbers
    y: Numbers
    error: Numbers | None


def _groups(
    history: Sequence[Mapping[str, Any]], declared: Sequence[Metric]
) -> dict[str, list[_Series]]:
    """The series of each figure: one quantity, or a family such as `similarity_w1`, `_w2`, …"""
    import numpy as np

    columns: dict[str, dict[int, float]] = {}
    for row in history:
        for key, value in row.items():
            if key not in _CLOCKS and (value is None or isinstance(value, int | float)):
                number = math.nan if value is None else float(value)
                columns.setdefault(key, {})[int(row["step"])] = number
    errors = {key: columns.pop(f"{key}_se") for key in [*columns] if f"{key}_se" in columns}
    families = _families(columns, declared)
    groups: dict[str, list[_Series]] = {}
    for key, values in columns.items():
        steps = sorted(values)
        y = np.array([values[step] for step in steps])
        if not np.isfinite(y).any():
            continue
        split, quantity = by_split(key)
        group, member = families.get(quantity, (quantity, ""))
        of = errors.get(key)
        error = None if of is None else np.array([of.get(step, math.nan) for step in steps])
        line = _Series(quantity, member, split, np.array(steps), y, error)
        groups.setdefault(group, []).append(line)
    for series in groups.values():
        series.sort(key=lambda s: SPLITS.index(s.split) if s.split else 0)
    last = ("opt", "time")
    return dict(sorted(groups.items(), key=lambda item: item[0].partition("/")[0] in last))


def _families(keys: Iterable[str], declared: Sequence[Metric]) -> dict[str, tuple[str, str]]:
    """Quantity -> (group, member) for quantities that share a stem and an axis label, such as
    `sim/w1`, `loss_kl` or `time/step`."""
    quantities = dict.fromkeys(by_split(key)[1] for key in keys)
    families: dict[tuple[str, str], dict[str, str]] = {}
    for quantity in quantities:
        stem, _, member = re.sub(r"[_/]([^_/]*)$", r"\0\1", quantity).partition("\0")
        # Optimiser scalars share a prefix but no unit.
        if member and stem != "opt":
            axis = axis_words(find(declared, quantity))
            families.setdefault((stem, axis), {})[quantity] = member
    shared = {key: members for key, members in families.items() if len(members) > 1}
    stems = [stem for stem, _ in shared]
    found: dict[str, tuple[str, str]] = {}
    for (stem, axis), members in shared.items():
        name = f"{stem} terms" if stem in quantities else stem
        if stems.count(stem) > 1:
            name += f" {axis}"
        found |= {quantity: (name, member) for quantity, member in members.items()}
    return found


def _curve_figure(group: str, series: list[_Series], axis: str, about: str) -> tuple[str, Figure]:
    """The caption and the figure of one quantity, or of a family that shares an axis."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = Figure()
    axes = figure.add_subplot()
    head(axes, group.replace("_", " "), "")
    one_split = len({line.split for line in series}) == 1
    one_member = len({line.member for line in series}) == 1
    ends, smoothed = [], 0
    for number, line in enumerate(series):
        place = SPLITS.index(line.split) if one_member and line.split else number
        colour, dash = line_of(place)
        y, width = _smooth(line.y)
        if width:
            axes.plot(*_thin(line.x, line.y), color=colour, alpha=0.28, linewidth=0.8)
            smoothed = max(smoothed, width * int(np.median(np.diff(line.x))))
        if line.error is not None:
            low, high = line.y - line.error, line.y + line.error
            axes.fill_between(line.x, low, high, color=colour, alpha=0.18, linewidth=0)
        mark = marks(line.x.size)
        axes.plot(*_thin(line.x, y), dash, color=colour, marker=mark, markersize=3.2)
        final = float(y[np.isfinite(y)][-1])
        # A line that broke off gets its label beside its last number.
        end = f"{final:.4g}" if np.isfinite(line.y[-1]) else MISSING
        split = "" if one_split and not (one_member and line.split) else line.split
        words = [word for word in (split, line.member, end) if word]
        ends.append((final, "  ".join(words), colour))
    first, last = min(s.x[0] for s in series), max(s.x[-1] for s in series)
    axes.set_xlim(min(first, 0) if last > first else first - 1, max(last, first + 1))
    if _falls_far(series):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("step")
    axes.set_ylabel(plain(axis))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    label_ends(axes, ends)
    once = "Logged at one step alone."
    ends_at = "Numbers at the right say where each line ends." if last > first else once
    caption = f"{about} {ends_at}".lstrip()
    if last > first and any(line.error is not None for line in series):
        caption += " Bands are standard errors."
    if smoothed:
        caption += f" Faint: as logged; strong: smoothed over about {smoothed:,} steps."
    return caption, figure


def _smooth(y: Numbers) -> tuple[Numbers, int]:
    """A centred Gaussian average of `y`, and its width in points; 0 if `y` needs no smoothing."""
    import numpy as np

    good = np.isfinite(y)
    if good.sum() < 40:
        return y, 0
    rises = np.sign(np.diff(y[good]))
    if np.mean(rises[1:] != rises[:-1]) < 0.25:
        return y, 0
    sigma = y.size / 60
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    # Dividing by the smoothed weights keeps gaps and both ends unbiased.
    total = np.convolve(np.where(good, y, 0.0), kernel, mode="full")[reach : reach + y.size]
    weight = np.convolve(good.astype(float), kernel, mode="full")[reach : reach + y.size]
    return np.where(good, total / np.maximum(weight, 1e-12), np.nan), round(2 * sigma)


def _thin(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """At most `_MOST_POINTS` points that keep the lowest and highest of every stretch."""
    import numpy as np

    if x.size <= _MOST_POINTS:
        return x, y
    kept = {0, x.size - 1}
    for part in np.array_split(np.arange(x.size), _MOST_POINTS // 2):
        values = y[part]
        kept |= {int(gap) for gap in part[~np.isfinite(values)][:1]}
        if np.isfinite(values).any():
            kept |= {int(part[np.nanargmin(values)]), int(part[np.nanargmax(values)])}
    chosen = np.array(sorted(kept))
    return x[chosen], y[chosen]


def _falls_far(series: list[_Series]) -> bool:
    """Whether all lines are positive and one falls by 1.5 decades, so that a log scale is used."""
    import numpy as np

    lines = [s.y[np.isfinite(s.y)] for s in series]
    return all((y > 0).all() for y in lines) and any(y[0] > 10**1.5 * y[-1] for y in lines)
