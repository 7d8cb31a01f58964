"""The page of a comparison: the curves of all settings overlaid, with standard errors as bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.atomic import destined
from weft.plots.axes import marks
from weft.plots.history import curve_of
from weft.plots.images import Named, file_name
from weft.plots.labels import head, label_ends, many, plain
from weft.plots.style import line_of, style
from weft.reports.gallery import drawn, gallery
from weft.reports.html import card, section, table_html, write
from weft.reports.tables import Mean, Table, mean_of
from weft.run.registry import declared_by
from weft.task.metric import Metric, axis_words, find

if TYPE_CHECKING:
    from weft.reports.comparison import Arm


def overlay(found: Sequence[Arm], most: int = 6) -> list[Named]:
    """A figure for each quantity that the arms logged: validation metrics first, then the loss.

    A line is the mean over the seeds that logged at a step, its band the standard error.

    Args:
        found: the arms.
        most: largest number of figures.
    """
    histories = {arm.name: [run.history() for run in arm.runs.values()] for arm in found}
    rows = [row for each in histories.values() for history in each for row in history]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    whole = [key for key in keys if not (key.endswith("_se") and key[:-3] in keys)]
    wanted = [key for key in whole if key.startswith("val/") and not key[-1].isdigit()]
    wanted += [key for key in ("train/loss",) if key in keys]
    declared = declared_by(run for arm in found for run in arm.runs.values())
    figures: list[Named] = []
    with style():
        for key in wanted[:most]:
            means = {name: _mean(each, key) for name, each in histories.items()}
            if lines := {name: line for name, line in means.items() if line}:
                figures.append(_overlaid(key, lines, find(declared, key), _seeds(found)))
    return figures


def _overlaid(
    key: str, lines: Mapping[str, Mapping[int, Mean]], metric: Metric | None, seeds: str
) -> Named:
    """The figure of one quantity.

    Args:
        key: its name in the rows.
        lines: arm -> step -> mean.
        metric: what is declared of it.
        seeds: how many seeds there are, in words.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    head(axes, key, seeds)
    ends = []
    for number, (name, line) in enumerate(lines.items()):
        colour, dash = line_of(number)
        steps, means = list(line), [mean.value for mean in line.values()]
        axes.plot(steps, means, dash, color=colour, marker=marks(len(steps)), markersize=3.2)
        low = [mean.value - (mean.error or 0.0) for mean in line.values()]
        high = [mean.value + (mean.error or 0.0) for mean in line.values()]
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
        ends.append((means[-1], name, colour))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    seen = [step for line in lines.values() for step in line]
    if min(seen) == max(seen):
        axes.set_xlim(seen[0] - 1, seen[0] + 1)
    axes.set_ylabel(plain(axis_words(metric)))
    label_ends(axes, ends)
    about = f"{metric.about} " if metric and metric.about else ""
    caption = f"{about}{many(len(lines), 'setting')}"
    if any(mean.error is not None for line in lines.values() for mean in line.values()):
        caption += "; bands are standard errors over seeds"
    return file_name(key), f"{caption}.", figure


def write_comparison(path: Path, found: Sequence[Arm], tables: Sequence[Table]) -> Path:
    """Writes the page of a comparison and returns its path.

    Args:
        path: of the page; its folder is made if it is missing.
        found: the arms.
        tables: the tables to show.
    """
    destined(path)
    drawings = [drawn(number, *figure) for number, figure in enumerate(overlay(found))]
    count = sum(len(arm.runs) for arm in found)
    lead = f"{many(count, 'run')} in {many(len(found), 'setting')}."
    parts = [
        f'<header><div class="title"><h1>Comparison</h1></div><p class="lead">{lead}</p></header>',
        *(section(table.title, card(table_html(table))) for table in tables),
        section("Curves", gallery(drawings)),
    ]
    return write(path, "Comparison", parts)


def _mean(histories: Sequence[Sequence[Mapping[str, Any]]], key: str) -> dict[int, Mean]:
    """Step -> mean over the histories that have a number at it."""
    found: dict[int, list[float]] = {}
    for history in histories:
        for step, value in curve_of(history, key):
            found.setdefault(step, []).append(value)
    return {step: mean_of(found[step]) for step in sorted(found)}


def _seeds(found: Sequence[Arm]) -> str:
    counts = [len(arm.runs) for arm in found]
    low, high = min(counts), max(counts)
    return f"{low if low == high else f'{low} to {high}'} {'seed' if high == 1 else 'seeds'} each"
