"""A table as text: aligned lines, CSV, or LaTeX."""

from __future__ import annotations

import csv
import io
import json

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


def _plain(cell: Cell) -> object:
    if cell is None:
        return ""
    if isinstance(cell, list):
        return json.dumps(cell)
    return str(cell).lower() if isinstance(cell, bool) else cell


def _tex(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)
