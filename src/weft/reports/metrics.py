"""A run's numbers as a table: what each measures, its unit, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from weft.reports.tables import Column, Table, format_number
from weft.task.metric import Metric, find


def metric_table(values: Mapping[str, float | None], declared: Iterable[Metric]) -> Table:
    """A row for each number.

    Args:
        values: by name, with the split before it.
        declared: what the task measures.
    """
    metrics = tuple(declared)
    rows = []
    for name, value in values.items():
        metric = find(metrics, name)
        # Each row is a quantity of its own, so the numbers share no decimals.
        row = {"metric": name, "value": format_number(value)}
        if metric:
            row |= {"unit": metric.unit, "better": metric.better, "about": metric.about}
        rows.append(row)
    told = [key for key in ("unit", "better", "about") if any(row.get(key) for row in rows)]
    columns = tuple(
        Column(key, role="prose" if key == "about" else "text")
        for key in ("metric", "value", *told)
    )
    return Table(columns, tuple(rows))
