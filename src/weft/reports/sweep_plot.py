"""The plot of a sweep: a metric over its axes, with error bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weft.plots.labels import head, label_ends, plain
from weft.plots.style import INK, MARKERS, MUTED, PALETTE, line_of, style
from weft.reports.tables import MISSING, Column, Mean, Table, format_number
from weft.task.metric import axis_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sweep_plot(table: Table, metric: str) -> Figure:
    """The metric over the first axis of a sweep, one line for each setting of the other axes.

    A numeric axis is drawn as lines, on a log scale if it spans a decade; words are drawn as bars.
    Error bars are standard errors over seeds. A NaN result is a dash on the axis.
    """
    from matplotlib.figure import Figure

    varied = table.with_role("axis")
    axis, others = (varied[0] if varied else None), varied[1:]
    column = next((column for column in table.columns if column.key == metric), Column(metric))
    lines: dict[tuple[str, ...], list[tuple[Any, Mean]]] = {}
    for row in table.rows:
        cell = row.get(metric)
        if not isinstance(cell, Mean):
            continue
        member = tuple(str(row.get(other.key)) for other in others)
        lines.setdefault(member, []).append((row.get(axis.key) if axis else "", cell))
    counts = [mean.n for points in lines.values() for _, mean in points]
    with style():
        figure = Figure(figsize=(6.4, 3.9))
        axes = figure.add_subplot()
        head(axes, metric, _seeds(counts))
        axes.set_ylabel(plain(axis_words(column.metric)))
        if axis is not None:
            axes.set_xlabel(axis.heading)
        if not any(math.isfinite(mean.value) for points in lines.values() for _, mean in points):
            axes.text(
                0.5,
                0.5,
                "no finished run ended in a number" if lines else "no finished runs yet",
                transform=axes.transAxes,
                ha="center",
                va="center",
                color=MUTED,
            )
            return figure
        places = [place for points in lines.values() for place, _ in points]
        names = {member: ", ".join(member) for member in lines}
        heading = ", ".join(other.heading for other in others)
        if all(isinstance(p, int | float) and not isinstance(p, bool) for p in places):
            _draw_lines(axes, lines, names, heading)
        else:
            _draw_bars(axes, lines, names, heading)
    return figure


def _draw_lines(
    axes: Axes,
    lines: Mapping[tuple[str, ...], list[tuple[Any, Mean]]],
    names: Mapping[tuple[str, ...], str],
    heading: str,
) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends = []
    for number, (member, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda point: point[0])
        colour, dash = line_of(number)
        x, y = [p[0] for p in points], [p[1].value for p in points]
        axes.errorbar(
            x,
            y,
            yerr=[_error(p[1]) for p in points],
            color=colour,
            elinewidth=1.0,
            marker=MARKERS[number % len(MARKERS)],
            markeredgewidth=0,
            linestyle=dash,
        )
        numbers = [value for value in y if math.isfinite(value)]
        _dashes(axes, [p for p, value in zip(x, y, strict=True) if math.isnan(value)], colour)
        if names[member] and numbers:
            ends.append((numbers[-1], names[member], colour))
    places = sorted({point[0] for points in lines.values() for point in points})
    if places[0] > 0 and places[-1] >= 10 * places[0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.025)
    if len(places) <= 10:
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    label_ends(axes, ends, heading)


def _draw_bars(
    axes: Axes,
    lines: Mapping[tuple[str, ...], list[tuple[Any, Mean]]],
    names: Mapping[tuple[str, ...], str],
    heading: str,
) -> None:
    words = list(dict.fromkeys(str(place) for points in lines.values() for place, _ in points))
    width = 0.8 / len(lines)
    for number, (member, points) in enumerate(lines.items()):
        shift = (number - (len(lines) - 1) / 2) * width
        colour = PALETTE[number % len(PALETTE)]
        missing = [place for place, mean in points if math.isnan(mean.value)]
        _dashes(axes, [words.index(str(place)) + shift for place in missing], colour)
        points = [(place, mean) for place, mean in points if math.isfinite(mean.value)]
        bars = axes.bar(
            [words.index(str(place)) + shift for place, _ in points],
            [mean.value for _, mean in points],
            width=width * 0.9,
            color=colour,
            label=names[member],
            yerr=[_error(mean) for _, mean in points],
            error_kw={"ecolor": INK, "elinewidth": 1.0},
        )
        if len(words) * len(lines) <= 12:
            axes.bar_label(
                bars,
                [format_number(mean.value, 3) for _, mean in points],
                padding=2,
                fontsize=7.5,
                color=MUTED,
            )
    axes.set_xticks(range(len(words)), [plain(word) for word in words])
    axes.grid(axis="x", visible=False)
    if len(lines) > 1:
        axes.legend(title=plain(heading), loc="center left", bbox_to_anchor=(1.0, 0.5))


def _dashes(axes: Axes, places: Sequence[float], colour: str) -> None:
    """Draws dashes on the axis for NaN results."""
    for place in places:
        axes.annotate(
            MISSING,
            (place, 0),
            xytext=(0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontweight="bold",
        )


def _error(mean: Mean) -> float:
    """Half the length of an error bar; 0 if there is no standard error."""
    return mean.error if mean.error is not None and math.isfinite(mean.error) else 0.0


def _seeds(counts: Sequence[int]) -> str:
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    if high == 1:
        return "one seed"
    number = str(high) if low == high else f"{low} to {high}"
    return f"mean ± standard error, {number} seeds"
