"""The page of a folder of runs: table and plot of a sweep, and the families' own comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weft import families
from weft.config.family import resolve
from weft.config.place import told
from weft.errors import WeftError
from weft.plots.images import Named, save
from weft.plots.labels import many
from weft.plots.style import style
from weft.reports.claims import matched
from weft.reports.gallery import drawn, gallery
from weft.reports.html import (
    card,
    prose,
    published,
    safe,
    section,
    table_html,
    write,
)
from weft.reports.run_list import run_list, script, sweep_links
from weft.reports.sweep_plot import sweep_plot
from weft.reports.tables import Table, format_seconds, pivot

if TYPE_CHECKING:
    from weft.config.family import Family
    from weft.run.registry import Run


@dataclass(frozen=True)
class Overview:
    """The files that were written.

    Attributes:
        pictures: the sweep's plot, and the families' figures of many runs.
        page: the page that shows them.
    """

    pictures: list[Path]
    page: Path


def write_overview_of(
    folder: Path,
    runs: Sequence[Run],
    table: Table | None,
    metric: str | None = None,
    notes: Sequence[str] = (),
) -> Overview:
    """Draws the runs together and writes the folder's page.

    Args:
        folder: that the runs are below.
        runs: all of them.
        table: of the sweep, if the folder is one.
        metric: to plot; by default the one that selects the best weights.
        notes: sentences to show at the top of the page.
    """
    finished = [run for run in runs if run.state == "finished"]
    figures: list[Named] = []
    claims: list[Table] = []
    said = list(notes)
    with style():
        if table and (chosen := metric or _leading(finished)):
            figures.append(("sweep", table.note, sweep_plot(table, chosen)))
        for name in dict.fromkeys(run.family for run in finished):
            mine = [run for run in finished if run.family == name]
            try:
                family = families.find(name)
                claims += filter(None, [matched(family, mine)])
                figures += _comparison(family, mine)
            # If a family is not installed, or fails to draw, the rest of the page is still written.
            except Exception as error:
                why = error.brief if isinstance(error, WeftError) else told(error)
                said.append(f"Of the runs of family `{name}` nothing is drawn together: {why}")
    for name, _, figure in figures:
        save(figure, folder / f"{name}.png")
    page = write_overview(folder, runs, figures, table, claims, said)
    return Overview([folder / f"{name}.png" for name, _, _ in figures], page)


def _comparison(family: Family, runs: Sequence[Run]) -> list[Named]:
    """The family's figures of its runs together."""
    if not family.comparison:
        return []
    # Imported here: it imports torch, which takes as long as reading two thousand runs.
    from weft.task import calls

    drawing = resolve(family.comparison, f"comparison of family `{family.name}`")
    known = [(run.config, run.logged() | run.metrics) for run in runs]
    return list(calls.pictures(drawing, known))


def _leading(runs: Sequence[Run]) -> str | None:
    """The headline of the first run that has measured anything; None if none has."""
    run = next((run for run in runs if run.metrics), None)
    return None if run is None else next(iter([*run.headlines, *run.metrics]))


def write_overview(
    directory: Path,
    runs: Sequence[Run],
    figures: Iterable[Named],
    table: Table | None = None,
    claims: Iterable[Table] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Writes the `report.html` of a folder of runs, such as a sweep's, and returns its path.

    Args:
        directory: the folder.
        runs: those below it, in any state.
        figures: of the runs together, in the order to show them.
        table: a sweep's summary, one row a setting.
        claims: tables of published numbers beside those of the runs.
        notes: sentences to show at the top.
    """
    states = [run.state for run in runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    named = (str(run.status.get("recipe", "")) for run in runs)
    recipes = dict.fromkeys(name for name in named if name)
    seconds = sum(run.seconds for run in runs)
    tone = "good" if set(states) == {"finished"} else "busy"
    what, title = "Sweep" if table else "Runs", directory.resolve().name
    parts = [
        f'<header><p class="eyebrow">{what} of {safe(", ".join(recipes))}</p>'
        f'<div class="title"><h1>{safe(title)}</h1>'
        f'<span class="badge {tone}">{safe(counts)}</span></div>'
        f'<p class="lead">{many(len(runs), "run")}, {safe(format_seconds(seconds))} of training '
        "in all.</p>"
        + "".join(f'<p class="bad">{prose(note)}</p>' for note in notes)
        + "</header>",
        section(
            "Result",
            gallery([drawn(number, *figure) for number, figure in enumerate(figures)]),
        ),
        *(section(shown.title or "Table", card(table_html(shown))) for shown in _views(table)),
        *map(published, claims),
        section("Runs", run_list(directory, runs)),
        section("Pages below", sweep_links(directory, runs)),
    ]
    return write(directory / "report.html", title, parts, script())


def _views(table: Table | None) -> list[Table]:
    """A sweep's table as it is; with two axes, one pivoted table for each metric."""
    if table is None:
        return []
    if len(table.with_role("axis")) != 2:
        return [table]
    squares = [pivot(table, column.key) for column in table.with_role("value")]
    # The note is shown once, at the sweep's plot.
    return [replace(square, note="") for square in squares]
