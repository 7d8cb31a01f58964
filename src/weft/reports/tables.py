"""Tables of typed columns, and how their numbers are formatted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from weft.task.metric import ARROWS, Metric, find

if TYPE_CHECKING:
    from rich.console import RenderableType

Role = Literal["axis", "value", "status", "text", "prose"]
Tone = Literal["good", "bad", "busy", "muted", "plain"]

TONES: Mapping[str, Tone] = {
    "finished": "good",
    "met": "good",
    "better": "good",
    "running": "busy",
    "failed": "bad",
    "crashed": "bad",
    "damaged": "bad",
    "worse": "bad",
    "interrupted": "muted",
    "not run": "muted",
    "not comparable": "muted",
    "open": "muted",
}
"""Colours of the words of a status column, on a page and in the terminal."""


@dataclass(frozen=True)
class Mean:
    """A mean over repeated runs.

    Attributes:
        value: the mean.
        error: standard error of the mean, sample standard deviation / sqrt(n); None if n = 1.
        n: number of runs.
    """

    value: float
    error: float | None
    n: int


MISSING = "—"
"""Shown in place of a missing number."""

Cell = str | int | float | bool | list[Any] | None | Mean


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: name of its cells in a row, and in JSON.
        title: heading; the key if empty.
        role: `axis`, a setting that was varied; `value`, a measured number; `status`, a word
            coloured by its meaning; `prose`, a sentence about the row; `text`, anything else.
        unit: "s" shows seconds as a duration; other units are put into the heading.
        group: columns of one group hold the same quantity, which the table's title names, and
            show the same number of decimals.
        metric: the declared metric that its numbers are of, if any.
    """

    key: str
    title: str = ""
    role: Role = "value"
    unit: str = ""
    group: str = ""
    metric: Metric | None = None

    @classmethod
    def of(cls, name: str, metrics: Iterable[Metric]) -> Column:
        """A column for the metric called `name`, with what `metrics` declare of it."""
        metric = find(metrics, name)
        return cls(name, unit=metric.unit if metric else "", metric=metric)

    @property
    def heading(self) -> str:
        """The title with its unit and, if the direction is known, an arrow towards better."""
        title = self.title or self.key
        if self.group:
            return title
        unit = "" if self.unit == "s" else self.unit
        return measured(title, unit, self.metric.better if self.metric else "")


@dataclass(frozen=True)
class Table:
    """Rows of cells under typed columns; a missing cell reads as None.

    Attributes:
        columns: from left to right.
        rows: column key -> cell.
        title: heading, or "".
        note: what a reader must know to read the numbers right, or "".
    """

    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    title: str = ""
    note: str = ""

    def column(self, key: str) -> list[Cell]:
        """All cells of a column, from top to bottom."""
        return [row.get(key) for row in self.rows]

    def with_role(self, role: Role) -> list[Column]:
        """The columns of that role."""
        return [column for column in self.columns if column.role == role]

    @property
    def legend(self) -> str:
        """An explanation of arrows and bold numbers; "" if there are none."""
        metrics = [column.metric for column in self.columns if column.metric]
        words = [
            f"{arrow} {better} is better"
            for better, arrow in ARROWS.items()
            if any(metric.better == better for metric in metrics)
        ]
        return "; ".join([*words, *["bold: the best"] * bool(self.best())])

    @property
    def caption(self) -> str:
        """The note and the legend."""
        return "; ".join(text for text in (self.note, self.legend) if text)

    def _repr_html_(self) -> str:
        """The table as notebooks show it; pages use `html.table_html`."""
        head = "".join(f"<th>{escape(column.heading)}</th>" for column in self.columns)
        rows = ["".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in text_rows(self)]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        note = f"<p>{escape(self.caption)}</p>" if self.caption else ""
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def best(self) -> set[tuple[int, str]]:
        """Row and key of the best number of each declared metric that has two or more.

        Of equal numbers the first counts; a NaN is never the best.
        """
        numbers: dict[str, int] = {}
        best: dict[str, tuple[float, int, str]] = {}
        for row, cells in enumerate(self.rows):
            for column in self.columns:
                cell, quantity = cells.get(column.key), column.group or column.key
                value = cell.value if isinstance(cell, Mean) else cell
                if column.metric is None or not isinstance(value, int | float):
                    continue
                numbers[quantity] = numbers.get(quantity, 0) + 1
                known = best.get(quantity)
                if column.metric.improves(value, known[0] if known else None):
                    best[quantity] = (value, row, column.key)
        return {(row, key) for name, (_, row, key) in best.items() if numbers[name] > 1}


def measured(name: str, unit: str, better: str) -> str:
    """The name of a quantity with its unit and, if the direction is known, an arrow."""
    arrow = ARROWS.get(better, "")
    return " ".join(word for word in (name, f"({unit})" if unit else "", arrow) if word)


def mean_of(values: Sequence[float | None]) -> Mean:
    """Mean and standard error of at least one value; a NaN, or the None that stands for it in
    files, makes both NaN."""
    numbers = [math.nan if value is None else float(value) for value in values]
    count = len(numbers)
    if count == 1:
        return Mean(numbers[0], None, 1)
    if not all(map(math.isfinite, numbers)):
        return Mean(math.nan, math.nan, count)
    return Mean(fmean(numbers), stdev(numbers) / math.sqrt(count), count)


def format_number(value: float | None, digits: int = 4) -> str:
    """`value` to `digits` significant digits; whole numbers in full, with thousands separated.

    NaN, and the None that stands for it in files, is a dash.
    """
    if value is None or math.isnan(value):
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value.is_integer() and abs(value) < 10 ** (digits + 2):
        return f"{value:,.1f}" if abs(value) < 10 else f"{value:,.0f}"
    size = _magnitude(value)
    if not -4 <= size < 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - size)}f}"


def format_seconds(seconds: float) -> str:
    """A duration in its two largest units, such as `2 min 41 s`."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, part, unit, small in (
        (86400, 3600, "d", "h"),
        (3600, 60, "h", "min"),
        (60, 1, "min", "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {small}"
    return f"{whole} s"


def format_column(
    cells: Sequence[Cell], column: Column, like: Sequence[Cell] | None = None
) -> list[str]:
    """The cells as text, the numbers of a column to the same number of decimals.

    The smallest standard error decides the number of decimals: it is shown with one digit, or two
    if the first is 1, unless the largest number would then have more than four. Without errors the
    largest number has four digits. If the numbers span more than three decades, each has four
    digits by itself.

    Args:
        cells: of the column, from top to bottom.
        column: its unit and role.
        like: the cells that decide the decimals, if several columns share them.
    """
    counts = column.role == "value" and column.unit != "s"
    decimals = _decimals(cells if like is None else like) if counts else None
    return [_format_cell(cell, column, decimals) for cell in cells]


def text_rows(table: Table) -> list[list[str]]:
    """Every row as text, in the order of the columns."""
    groups: dict[str, list[Cell]] = {}
    for column in table.columns:
        groups.setdefault(column.group or column.key, []).extend(table.column(column.key))
    columns = [
        format_column(table.column(c.key), c, groups[c.group or c.key]) for c in table.columns
    ]
    return [list(row) for row in zip(*columns, strict=True)] if columns else []


def pivot(table: Table, metric: str) -> Table:
    """One metric of a table with two axes: the first axis as rows, the second as columns."""
    down, across = table.with_role("axis")
    measured = next(column for column in table.columns if column.key == metric)
    places = list(dict.fromkeys(_text(cell, across) for cell in table.column(across.key)))
    rows: dict[str, dict[str, Cell]] = {}
    for row in table.rows:
        place = _text(row.get(across.key), across)
        line = rows.setdefault(_text(row.get(down.key), down), {down.key: row.get(down.key)})
        line[f"{across.key}={place}"] = row.get(metric)
    columns = [
        replace(
            measured,
            key=f"{across.key}={place}",
            title=f"{across.heading} {place}",
            group=metric,
        )
        for place in places
    ]
    return Table((down, *columns), tuple(rows.values()), title=measured.heading, note=table.note)


def rich_table(table: Table) -> RenderableType:
    """The table for a terminal: in columns, or one row below the other if they do not fit."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    from weft.reports.fitting import Fitting
    from weft.terminal import unbroken

    # Not rich's own title and caption, which are wrapped to the width of the table.
    title = [unbroken(table.title, "bold")] if table.title else []
    caption = [Text(table.caption, style="dim")] if table.caption else []
    if not table.rows:
        return Group(*title, *caption)
    styles = {"good": "green", "bad": "red", "busy": "cyan", "muted": "dim", "plain": ""}
    rich = RichTable(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in table.columns:
        rich.add_column(
            Text(column.heading), justify="right" if is_numeric(table, column) else "left"
        )
    best = table.best()
    rows = []
    for number, row in enumerate(text_rows(table)):
        cells = []
        for cell, column in zip(row, table.columns, strict=True):
            look = styles[tone_of(cell)] if column.role == "status" else ""
            cells.append(Text(cell, style="bold" if (number, column.key) in best else look))
        rows.append(cells)
    for cells in rows:
        rich.add_row(*cells)
    fitting = Fitting(rich, [column.heading for column in table.columns], rows)
    return Group(*title, fitting, *caption)


def tone_of(word: str) -> Tone:
    """The colour class of a status word."""
    return TONES.get(word, "plain")


def is_numeric(table: Table, column: Column) -> bool:
    """Whether all cells that are not missing are numbers, so that the column is right-aligned."""
    cells = [cell for cell in table.column(column.key) if cell is not None]
    return bool(cells) and all(
        isinstance(cell, int | float | Mean) and not isinstance(cell, bool) for cell in cells
    )


def _text(cell: Cell, column: Column) -> str:
    return _format_cell(cell, column, None)


def _decimals(cells: Sequence[Cell]) -> int | None:
    """Number of decimals for all cells of a column; None if they span more than three decades."""
    means = [c for c in cells if isinstance(c, Mean)]
    numbers = [m.value for m in means] + [c for c in cells if isinstance(c, float)]
    sizes = [_magnitude(v) for v in numbers if math.isfinite(v) and v != 0]
    if not sizes or max(sizes) - min(sizes) > 3 or not -4 <= max(sizes) < 6:
        return None
    errors = [m.error for m in means if m.error and math.isfinite(m.error)]
    if not errors:
        return max(0, 3 - max(sizes))
    finest = min(errors)
    place = -_magnitude(finest) + (f"{finest:e}"[0] == "1")
    return max(0, min(place, 3 - max(sizes)))


def _format_cell(cell: Cell, column: Column, decimals: int | None) -> str:
    if cell is None or (isinstance(cell, Mean) and math.isnan(cell.value)):
        return MISSING
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, str):
        return cell
    if isinstance(cell, list):
        return json.dumps(cell)
    if column.unit == "s":
        return format_seconds(cell.value if isinstance(cell, Mean) else cell)
    if column.role == "axis":
        return f"{cell.value:g}" if isinstance(cell, Mean) else str(cell)
    if isinstance(cell, Mean):
        value = _to_decimals(cell.value, decimals)
        if cell.error is None:
            return value
        error = (
            f"{cell.error:,.{decimals}f}" if decimals is not None else format_number(cell.error, 2)
        )
        return f"{value} ± {error}"
    return format_number(cell) if isinstance(cell, int) else _to_decimals(cell, decimals)


def _to_decimals(value: float, decimals: int | None) -> str:
    if decimals is None or not math.isfinite(value):
        return format_number(value)
    return f"{value:,.{decimals}f}"


def _magnitude(value: float) -> int:
    """Power of ten of the leading digit after rounding, so that 0.99996 counts as 1.0000."""
    return int(f"{value:.3e}".partition("e")[2])
