"""Runs a sweep: from its words to its table, plot and page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from weft import families
from weft.config.load import Resolved, load
from weft.config.paths import as_name
from weft.errors import RunError
from weft.run.directory import RunDirectory
from weft.run.registry import find_runs
from weft.sweeps.grid import PLAN, Point, known_metric, open_plan, outstanding, points, table_of
from weft.sweeps.places import LOCAL, find_place
from weft.sweeps.point import train_point
from weft.sweeps.pool import Outcome, check_workers, refuse_stopped
from weft.sweeps.space import Space, parse

if TYPE_CHECKING:
    from weft.reports.tables import Table


CarryOut = Callable[[list[Point]], list[Outcome]]
"""Trains points and says how each ended."""


@dataclass(frozen=True)
class Sweep:
    """A finished (or stopped) sweep.

    Attributes:
        directory: that holds its runs, sweep.yaml and report.html.
        table: mean and standard error over seeds for every setting.
        outcomes: how each point that was trained ended.
        pictures: the plot, and the family's figures of many runs.
        page: its report.
    """

    directory: Path
    table: Table
    outcomes: list[Outcome]
    pictures: list[Path]
    page: Path

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def checked(space: Space, on_notice: Callable[[str], None]) -> list[Resolved]:
    """The configs of all points of the grid; a mistake in one is found before anything is written.

    Args:
        space: the grid.
        on_notice: called with each sentence there is to tell of every config, such as that an
            axis has no effect.

    Raises:
        ConfigError: if a config is wrong, or a run that it names is not there.
    """
    from weft.run.parents import find_weights

    resolved = [load(point.overrides, families, {}) for point in points(space)]
    told = [each.notices for each in resolved]
    for notice in told[0]:
        if all(notice in others for others in told):
            on_notice(notice)
    for each in resolved:
        find_weights(each.config, each.origin)
    return resolved


def sweep(
    *words: str | Path,
    directory: Path | str | None = None,
    workers: int | None = None,
    metric: str | None = None,
    on_done: Callable[[Outcome], None] | None = None,
    stack: bool = False,
    on: str = LOCAL,
    on_notice: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Trains a grid of settings; arguments as for `weft.sweep`.

    Raises:
        UsageError: if the family measures no such metric, or does not stack these runs.
        PlaceTaken: if the directory holds something else, or another process trains it.
        DeviceError: if the place named by `on` is not available.
    """
    from weft.reports.overview import write_overview_of
    from weft.task.load import load_task

    check_workers(workers)
    space = parse(words)
    resolved = checked(space, on_notice)
    if metric is not None:
        config = resolved[0].config
        known_metric(load_task(families.find(config.family), config).metrics, metric)
    recipe = as_name(resolved[0].named)
    folder = Path(directory or Path("runs") / "sweeps" / recipe)
    place = find_place(on, folder)
    carry_out: CarryOut = partial(place, train=train_point, workers=workers, on_done=on_done)
    if stack:
        # Imported here, since they import torch.
        from weft.run.together import stackable
        from weft.sweeps.stacked import run_stacked

        stackable(resolved)
        carry_out = partial(run_stacked, on_done=on_done)
    outcomes = _carried_out(folder, space, carry_out)
    refuse_stopped(outcomes, str(folder), "the same sweep command goes on with it")
    found = find_runs(folder)
    if not any(run.state == "finished" for run in found):
        raise RunError(
            "no run of the sweep finished",
            where=str(folder),
            hint="\n".join(outcome.error for outcome in outcomes[:1]),
        )
    table = table_of(folder, found, metric)
    assert table is not None
    overview = write_overview_of(folder, found, table, metric)
    return Sweep(folder, table, outcomes, overview.pictures, overview.page)


def _carried_out(folder: Path, space: Space, carry_out: CarryOut) -> list[Outcome]:
    """Trains the points that are missing, while no other process trains the sweep."""
    if not (folder / PLAN).exists():
        open_plan(folder, space)
    place = RunDirectory(folder)
    place.lock()
    try:
        # Under the lock: a sweep must not grow while another process trains it.
        return carry_out(outstanding(open_plan(folder, space), find_runs(folder)))
    finally:
        place.unlock()
