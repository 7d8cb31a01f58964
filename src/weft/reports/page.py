"""The page of one run: its curves, the figures of its family, and its report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.load import validate
from weft.config.recipe import plain_defaults
from weft.families import find
from weft.plots.images import save
from weft.plots.style import style
from weft.reports.curves import curves
from weft.reports.html import write_report
from weft.run.directory import RunDirectory
from weft.task import calls
from weft.task.load import load_task

if TYPE_CHECKING:
    from weft.run.registry import Run
    from weft.task.task import Task


def write_page(run: Run, task: Task[Any, Any, Any] | None = None) -> Path:
    """Writes the run's report.html and the figures it shows.

    Args:
        run: in any state.
        task: of the run, where it has been built already.
    """
    family, history = find(run.family), run.history()
    if task is None:
        task = load_task(family, validate(run.config, family, str(run.path / "config.yaml")))
    folder = RunDirectory(run.path).figures
    folder.mkdir(exist_ok=True)
    with style():
        own = list(calls.pictures(task.figures, history))
        for name, _, figure in own:
            save(figure, folder / f"{name}.png")
        figures = [*curves([_engine_scalars(row) for row in history]), *own]
    return write_report(run, figures, defaults=plain_defaults(family))


def _engine_scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the family's own diagnostics: those are the family's to draw."""
    own = ("train/", "val/", "test/", "opt/", "time/")
    return {k: v for k, v in row.items() if k.startswith(own) or "/" not in k}
