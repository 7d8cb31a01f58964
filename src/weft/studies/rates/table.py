"""The tables of a study of rates: every metric, the chosen rates, distances from the best form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weft.reports.tables import Cell, Column, Mean, Table, mean_of
from weft.reports.written import markdown

_OWN = ("form", "selects", "better", "rate", "seed", "steps", "step_ms", "chosen", "inside")

NEEDED = ("form", "selects", "better", "rate", "seed", "chosen")
"""Keys that every row of `Study` must have."""

MOST_NUMBERED = 3
"""Metrics that differ only by a number at their end are shown if there are at most this many."""

Rows = Sequence[Mapping[str, Any]]
Grid = dict[tuple[str, ...], dict[str, Rows]]
"""Point -> form -> the seeds of that cell."""


def told(rows: Rows) -> str:
    """Markdown tables of the chosen runs: points downwards, forms across.

    Metrics that differ only by a number at their end get tables if they are few. A rate marked `at
    the end` is the best but has no worse one beyond it. If lower is better, a last line says how
    far each form is above the least of a row, at most.

    Args:
        rows: the lines that `Study` wrote.
    """
    chosen = [row for row in rows if row["chosen"]]
    if not chosen:
        return "no cell is finished yet"
    axes = axes_of(chosen[0])
    grid: Grid = {}
    for row in chosen:
        forms = grid.setdefault(tuple(str(row.get(axis)) for axis in axes), {})
        forms[row["form"]] = [*forms.get(row["form"], ()), row]
    tested = dict.fromkeys(name for row in chosen for name in row if name.startswith("test/"))
    kinds = Counter(map(_kind, tested))
    shown = [name for name in tested if kinds[_kind(name)] <= MOST_NUMBERED]
    means = {name: _means(grid, name) for name in shown}
    selects = f"test/{chosen[0]['selects']}"
    tables = [_table(name, axes, grid, means[name]) for name in shown]
    if any(row["rate"] for row in chosen):
        tables.append(_table(f"rate ({selects})", axes, grid, _rates(grid)))
    texts = list(map(markdown, tables))
    if chosen[0]["better"] == "lower" and selects in means:
        texts.append(_distances(means[selects].values()))
    return "\n".join(texts)


def axes_of(row: Mapping[str, Any]) -> list[str]:
    """The keys of a row that identify its point of the grid."""
    return [key for key in row if key not in _OWN and "/" not in key]


def _kind(name: str) -> str:
    """The metric's name without the number at its end."""
    return name.rstrip("0123456789")


def _means(grid: Grid, metric: str) -> dict[tuple[str, ...], dict[str, Mean]]:
    return {
        point: {
            form: mean_of([row[metric] for row in seeds])
            for form, seeds in forms.items()
            if all(metric in row for row in seeds)
        }
        for point, forms in grid.items()
    }


def _rates(grid: Grid) -> dict[tuple[str, ...], dict[str, str]]:
    return {
        point: {
            form: seeds[0]["rate"] + ("" if seeds[0].get("inside") else " at the end")
            for form, seeds in forms.items()
        }
        for point, forms in grid.items()
    }


def _table(
    title: str,
    axes: Sequence[str],
    grid: Grid,
    cells: Mapping[tuple[str, ...], Mapping[str, Cell]],
) -> Table:
    forms = list(dict.fromkeys(form for found in grid.values() for form in found))
    columns = (
        *(Column(axis, role="axis") for axis in axes),
        *(Column(f"form {form}", title=form, group="forms") for form in forms),
    )
    rows = []
    for point in sorted(grid):
        row: dict[str, Cell] = dict(zip(axes, point, strict=True))
        rows.append(row | {f"form {form}": cell for form, cell in cells[point].items()})
    return Table(columns, tuple(rows), title=title)


def _distances(rows: Iterable[Mapping[str, Mean]]) -> str:
    """The largest share, over rows, by which each form is above the least of its row."""
    worst: dict[str, float] = {}
    for cells in rows:
        least = min(mean.value for mean in cells.values())
        for form, mean in cells.items():
            worst[form] = max(worst.get(form, 0.0), mean.value / least - 1)
    told = ", ".join(f"{form} {100 * share:.0f} %" for form, share in worst.items())
    return f"above the least of a row, at most: {told}\n"
