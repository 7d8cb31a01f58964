"""A run's metrics as a table: value, unit, direction and meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from weft.reports.tables import Column, Table, format_number
from weft.task.metric import Metric, find


def metric_table(values: Mapping[str, float | None], declared: Iterable[Metric]) -> Table:
    """A row for each number.

    Args:
        values: metric name with its split, such as `test/accuracy` -> value.
        declared: the task's metrics.
    """
    metrics = tuple(declared)
    rows = []
    for name, value in values.items():
        metric = find(metrics, name)
        # Rows are different quantities, so the numbers need not share decimals.
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
