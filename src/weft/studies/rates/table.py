"""The tables of a study of rates: cells of every metric, the rates, distances from the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weft.reports.tables import Cell, Column, Mean, Table, markdown, mean_of

_OWN = ("form", "selects", "better", "rate", "seed", "steps", "step_ms", "chosen", "inside")

NEEDED = ("form", "selects", "better", "rate", "seed", "chosen")
"""What every row of `Study` says of its run."""

MOST_NUMBERED = 3
"""Metrics told apart by a number that are shown."""

Rows = Sequence[Mapping[str, Any]]
Grid = dict[tuple[str, ...], dict[str, Rows]]
"""Point -> form -> the seeds of that cell."""


def told(rows: Rows) -> str:
    """Markdown tables of the chosen runs: points downwards, forms across.

    Metrics told apart by a number alone have tables if they are few. A rate with `at the end` won
    beside nothing worse. Where less is better, a line says of the metric that selects by how much
    each form is above the least of a row, at most.

    Args:
        rows: what `Study` wrote.
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
    if chosen[0]["better"] == "lower":
        texts.append(_distances(means[selects].values()))
    return "\n".join(texts)


def axes_of(row: Mapping[str, Any]) -> list[str]:
    """The keys of a row of `Study` that say which point of the grid it belongs to."""
    return [key for key in row if key not in _OWN and "/" not in key]


def _kind(name: str) -> str:
    """The metric's name without the number at its end."""
    return name.rstrip("0123456789")


def _means(grid: Grid, metric: str) -> dict[tuple[str, ...], dict[str, Mean]]:
    return {
        point: {
            form: mean_of([row[metric] for row in seeds])
            for form, seeds in forms.items()
            if metric in seeds[0]
        }
        for point, forms in grid.items()
    }


def _rates(grid: Grid) -> dict[tuple[str, ...], dict[str, str]]:
    return {
        point: {
            form: seeds[0]["rate"] + ("" if seeds[0]["inside"] else " at the end")
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
    """The share by which each form is above the least of a row, where it is so most."""
    worst: dict[str, float] = {}
    for cells in rows:
        least = min(mean.value for mean in cells.values())
        for form, mean in cells.items():
            worst[form] = max(worst.get(form, 0.0), mean.value / least - 1)
    told = ", ".join(f"{form} {100 * share:.0f} %" for form, share in worst.items())
    return f"above the least of a row, at most: {told}\n"
