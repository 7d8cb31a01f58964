"""The page of a folder of runs: a sweep's table and plot, and what families draw of many runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weft.config.family import resolve
from weft.families import find
from weft.plots.images import Named, save
from weft.plots.style import style
from weft.reports.html import write_overview
from weft.reports.sweep_plot import sweep_plot
from weft.task import calls

if TYPE_CHECKING:
    from weft.reports.tables import Table
    from weft.run.registry import Run


@dataclass(frozen=True)
class Overview:
    """What was written.

    Attributes:
        pictures: the sweep's plot, and what families draw of many runs.
        page: the page that shows them.
    """

    pictures: list[Path]
    page: Path


def write_overview_of(
    folder: Path, runs: Sequence[Run], table: Table | None, metric: str | None = None
) -> Overview:
    """Draws the runs together and writes the folder's page.

    Args:
        folder: where they lie.
        runs: all of them.
        table: of the sweep, if they are one.
        metric: what its plot shows; what selects the best weights by default.
    """
    finished = [run for run in runs if run.state == "finished"]
    figures: list[Named] = []
    with style():
        if table and finished:
            shown = sweep_plot(table, metric or _leading(finished[0]))
            figures.append(("sweep", table.note, shown))
        for name in dict.fromkeys(run.family for run in finished):
            if drawing := find(name).comparison:
                mine = [(run.config, run.metrics) for run in finished if run.family == name]
                figures += calls.pictures(resolve(drawing, f"comparison of family `{name}`"), mine)
    for name, _, figure in figures:
        save(figure, folder / f"{name}.png")
    page = write_overview(folder, runs, figures, table)
    return Overview([folder / f"{name}.png" for name, _, _ in figures], page)


def _leading(run: Run) -> str:
    """The first declared metric the run has, on the test set if it was used."""
    for metric in run.declared:
        for split in ("test", "val"):
            if f"{split}/{metric.name}" in run.metrics:
                return f"{split}/{metric.name}"
    return next(iter(run.metrics))
