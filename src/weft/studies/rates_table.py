"""The table of a study of rates: mean and error of cells, their distance from the best of a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_OWN = ("form", "rate", "seed", "steps", "step_ms", "chosen", "inside")


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table a metric of chosen runs, `mean ± standard error (rate)`, and what follows.

    A rate in brackets with < or > won at an end of what was tried. Below stands for every form by
    how much it is above the best of its row, at most.

    Args:
        rows: what `Study` wrote.
    """
    chosen = [row for row in rows if row["chosen"]]
    if not chosen:
        return "no cell is finished yet"
    tested = dict.fromkeys(name for row in chosen for name in row if name.startswith("test/"))
    return "\n\n".join(_table(chosen, name) for name in tested if "_px_" not in name)


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
    worst = dict.fromkeys(forms, 0.0)
    for point, found in sorted(cells.items()):
        least = min(mean for mean, _ in found.values())
        for form, (mean, _) in found.items():
            worst[form] = max(worst[form], mean / least - 1 if least > 0 else math.nan)
        texts = [found[form][1] if form in found else "" for form in forms]
        lines.append("| " + " | ".join([", ".join(point), *texts]) + " |")
    tail = [f"{100 * worst[form]:.0f} %" for form in forms]
    lines.append("| " + " | ".join(["above the least, at most", *tail]) + " |")
    return f"{metric}\n\n" + "\n".join(lines)


def _cell(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[float, str]:
    """Mean, and the cell's text."""
    values = [float(row[metric]) for row in rows if metric in row]
    if not values:
        return math.nan, ""
    mean = sum(values) / len(values)
    text = f"{mean:.2f}"
    if len(values) > 1:
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        text += f" ± {spread / math.sqrt(len(values)):.2f}"
    rate = rows[0]["rate"]
    if rate:
        text += f" ({rate}{'' if rows[0]['inside'] else ' at the end'})"
    return mean, text
