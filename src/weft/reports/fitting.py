"""Prints a table in columns if no word would be cut, otherwise one row below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Fitting:
    """A table that rich prints in whichever of two layouts fits the terminal.

    Attributes:
        columns: the table in columns.
        headings: of its columns.
        rows: its cells.
    """

    columns: Table
    headings: Sequence[str]
    rows: Sequence[Sequence[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Measured for an unlimited width, since rich reports no more than the available one.
        wide = options.update_width(10_000)
        if Measurement.get(console, wide, self.columns).minimum <= options.max_width:
            yield self.columns
            return
        for head, *cells in self.rows:
            yield Text("")
            yield head
            below = Table.grid(padding=(0, 0, 0, 2))
            below.add_column(no_wrap=True, style="dim")
            below.add_column(overflow="fold")
            for heading, cell in zip(self.headings[1:], cells, strict=True):
                if cell.plain:
                    below.add_row(heading, cell)
            yield below
