"""A table as text: aligned lines, Markdown, CSV, LaTeX; and as plain data for JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from weft.reports.tables import MISSING, Cell, Mean, Table, is_numeric, text_rows

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", MISSING: "--",
}  # fmt: skip


def aligned(table: Table) -> str:
    """The table as lines of aligned text, for thousands of rows, which rich lays out in seconds."""
    rows = [[column.heading for column in table.columns], *text_rows(table)]
    rows = [[cell.replace("\n", " ") for cell in row] for row in rows]
    right = [is_numeric(table, column) for column in table.columns]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        )
        for row in rows
    )
    return "\n".join(map(str.rstrip, lines))


def markdown(table: Table) -> str:
    """The table as GitHub-flavoured Markdown, with columns padded so that it reads as text, too."""
    best = table.best()
    rows = [
        [
            f"**{_escape(cell)}**" if (number, column.key) in best else _escape(cell)
            for cell, column in zip(row, table.columns, strict=True)
        ]
        for number, row in enumerate(text_rows(table))
    ]
    heads = [_escape(column.heading) for column in table.columns]
    right = [is_numeric(table, column) for column in table.columns]
    widths = [max(3, *map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    rule = [("-" * (w - 1) + ":") if r else "-" * w for w, r in zip(widths, right, strict=True)]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(w) if r else cell.ljust(w)
            for cell, w, r in zip(row, widths, right, strict=True)
        )
        + " |"
        for row in (heads, rule, *rows)
    ]
    above = [f"**{table.title}**", ""] if table.title else []
    below = ["", f"*{table.caption}*"] if table.caption else []
    return "\n".join([*above, *lines, *below]) + "\n"


def as_csv(table: Table) -> str:
    """The table as CSV, with a header of column keys and all digits of numbers.

    A mean over seeds takes three columns: `key`, `key_se` (standard error), `key_n`.
    """
    means = {
        column.key
        for column in table.columns
        if any(isinstance(cell, Mean) for cell in table.column(column.key))
    }
    keys = [column.key for column in table.columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            name
            for key in keys
            for name in ([key, f"{key}_se", f"{key}_n"] if key in means else [key])
        ]
    )
    for row in table.rows:
        cells: list[object] = []
        for key in keys:
            cell = row.get(key)
            if key not in means:
                cells.append(_plain(cell))
            elif isinstance(cell, Mean):
                cells += [cell.value, "" if cell.error is None else cell.error, cell.n]
            else:
                cells += [_plain(cell), "", ""]
        writer.writerow(cells)
    return text.getvalue().rstrip("\n")


def as_latex(table: Table) -> str:
    """The table as a LaTeX `tabular` with booktabs rules; the best number of a metric is bold."""
    best = table.best()
    kinds = "".join("r" if is_numeric(table, column) else "l" for column in table.columns)
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule"]
    lines += [" & ".join(_tex(column.heading) for column in table.columns) + r" \\", r"\midrule"]
    for number, row in enumerate(text_rows(table)):
        cells = [
            rf"\textbf{{{_tex(cell)}}}" if (number, column.key) in best else _tex(cell)
            for cell, column in zip(row, table.columns, strict=True)
        ]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.caption:
        lines.append(f"% {table.caption}")
    return "\n".join(lines)


def as_json(table: Table) -> dict[str, Any]:
    """The table as plain data; a mean is {"mean", "se", "n"}, NaN is null.

    A column's `better` is `lower`, `higher`, or null if unknown.
    """
    return {
        "title": table.title,
        "note": table.note,
        "columns": [
            {
                "key": c.key,
                "title": c.title or c.key,
                "role": c.role,
                "unit": c.unit,
                "better": c.metric.better if c.metric else None,
            }
            for c in table.columns
        ],
        "rows": [{c.key: _data(row.get(c.key)) for c in table.columns} for row in table.rows],
    }


def _plain(cell: Cell) -> object:
    if cell is None:
        return ""
    if isinstance(cell, list):
        return json.dumps(cell)
    return str(cell).lower() if isinstance(cell, bool) else cell


def _tex(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _data(cell: Cell) -> Any:
    if isinstance(cell, Mean):
        return {"mean": _data(cell.value), "se": _data(cell.error), "n": cell.n}
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell
