"""The table of a study of rates: mean and error of cells, their distance from the best of a row."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_OWN = ("form", "selects", "better", "rate", "seed", "steps", "step_ms", "chosen", "inside")

MOST_NUMBERED = 3
"""Metrics told apart by a number that are shown."""


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table a metric of chosen runs, `mean ± standard error (rate)`, and what follows.

    Metrics told apart by a number alone have tables if they are few. A rate `at the end` won
    beside nothing worse. Below the metric that selects, if less of it is better, stands by how
    much each form is above the least of a row, at most.

    Args:
        rows: what `Study` wrote.
    """
    chosen = [row for row in rows if row["chosen"]]
    if not chosen:
        return "no cell is finished yet"
    tested = dict.fromkeys(name for row in chosen for name in row if name.startswith("test/"))
    kinds = Counter(map(_kind, tested))
    shown = [name for name in tested if kinds[_kind(name)] <= MOST_NUMBERED]
    return "\n\n".join(_table(chosen, name) for name in shown)


def _kind(name: str) -> str:
    """The metric's name without the number at its end."""
    return name.rstrip("0123456789")


def _table(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    forms = list(dict.fromkeys(row["form"] for row in rows))
    axes = [key for key in rows[0] if key not in _OWN and "/" not in key]
    cells: dict[tuple[str, ...], dict[str, tuple[float, str]]] = {}
    for row in rows:
        point = tuple(str(row[axis]) for axis in axes)
        if row["form"] in cells.setdefault(point, {}):
            continue
        same = [
            other
            for other in rows
            if other["form"] == row["form"] and all(other[axis] == row[axis] for axis in axes)
        ]
        cells[point][row["form"]] = _cell(same, metric)
    lines = [
        "| " + " | ".join([", ".join(axes) or metric, *forms]) + " |",
        "|" + "---|" * (1 + len(forms)),
    ]
    for point, found in sorted(cells.items()):
        texts = [found[form][1] if form in found else "" for form in forms]
        lines.append("| " + " | ".join([", ".join(point), *texts]) + " |")
    if metric == f"test/{rows[0]['selects']}" and rows[0]["better"] == "lower":
        tail = [f"{100 * _worst(form, cells.values()):.0f} %" for form in forms]
        lines.append("| " + " | ".join(["above the least, at most", *tail]) + " |")
    return f"{metric}\n\n" + "\n".join(lines)


def _worst(form: str, rows: Iterable[Mapping[str, tuple[float, str]]]) -> float:
    """Share by which a form is above the least of a row, where it is so most."""
    return max(
        cells[form][0] / min(mean for mean, _ in cells.values()) - 1
        for cells in rows
        if form in cells
    )


def _cell(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[float, str]:
    """Mean, and the cell's text: two digits of the error, or four of a value without one."""
    values = [float(row[metric]) for row in rows if metric in row]
    if not values:
        return math.nan, ""
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    if error > 0:
        digits = max(0, 1 - math.floor(math.log10(error)))
        text = f"{mean:.{digits}f} ± {error:.{digits}f}"
    else:
        text = f"{mean:.4g}"
    rate = rows[0]["rate"]
    if rate:
        text += f" ({rate}{'' if rows[0]['inside'] else ' at the end'})"
    return mean, text
