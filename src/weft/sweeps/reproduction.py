"""Trains the runs that the papers' tables need, most valuable first, within a time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from weft import families
from weft.errors import Interrupted, UsageError
from weft.reports.tables import Table
from weft.run.directory import RunDirectory, aside
from weft.run.registry import find_runs, is_run
from weft.sweeps import pool
from weft.sweeps.grid import Point
from weft.sweeps.learnt import hand_back, write
from weft.sweeps.point import train_point
from weft.sweeps.pool import Outcome
from weft.sweeps.wanted import FILE, Budget, Entry, entries, known_as


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction.

    Attributes:
        tables: for each family, published numbers beside ours, and what was trained.
        text: file with the same as Markdown.
        page: file with the same as HTML.
        outcomes: how each run that was started ended.
        left: number of runs that are not finished.
    """

    tables: list[Table]
    text: Path
    page: Path
    outcomes: list[Outcome]
    left: int


def reproduce(
    names: Sequence[str],
    budget: Budget,
    minutes: float | None = None,
    root: Path = Path("runs"),
    workers: int | None = None,
    on_done: Callable[[Outcome], None] = lambda _: None,
    out: Path | None = None,
) -> Reproduction:
    """Trains the missing runs and writes the tables; the same call again continues.

    A run is identified by its family and config, so that nothing is trained twice. It begins only
    if its listed minutes still fit; runs under way when the time is over are saved. The tables are
    updated as each run ends.

    Args:
        names: families.
        budget: which entries of each family's `reproduce.yaml` are trained.
        minutes: wall time for training; None for no limit.
        root: runs and tables go to `reproduce/BUDGET` below it.
        workers: runs at a time; one per core or GPU by default.
        on_done: called as each run ends.
        out: a folder that gets everything but the weights; it can serve as `root` later.

    Raises:
        UsageError: if the families list nothing for this budget.
        Interrupted: if a signal stopped it.
    """
    below = Path("reproduce") / budget
    folder = root / below
    wanted = {name: entries(families.find(name), budget) for name in names}
    if not any(wanted.values()):
        raise UsageError(
            f"no run is listed for the budget `{budget}`",
            where=", ".join(names),
            expected=f"a {FILE} beside the family's claims.yaml",
        )
    planned = _points(folder, wanted)
    folder.mkdir(parents=True, exist_ok=True)

    def tell() -> tuple[list[Table], Path, Path]:
        written = write(folder, budget, wanted)
        if out is not None:
            hand_back(folder, out / below)
        return written

    def ended(outcome: Outcome) -> None:
        on_done(outcome)
        tell()

    place = RunDirectory(folder)
    place.lock()
    try:
        _begin_anew([folder / each.point.name for each in planned])
        outcomes = _train(planned, folder, minutes, workers, ended)
        tables, text, page = tell()
    finally:
        place.unlock()
    if by := next(filter(None, (outcome.by for outcome in outcomes)), ""):
        raise Interrupted(by, str(folder), again="the same command goes on with it")
    tried = [each for each in outcomes if each.state != "stopped" or each.seconds]
    left = sum(str(folder / each.point.name) not in _finished(folder) for each in planned)
    return Reproduction(tables, text, page, tried, left)


@dataclass(frozen=True)
class _Planned:
    point: Point
    minutes: float


def _points(folder: Path, wanted: dict[str, list[Entry]]) -> list[_Planned]:
    """The runs in order: of each family the most valuable entry, seed by seed, then the next."""
    planned: dict[str, _Planned] = {}
    columns = ([(family, entry) for entry in found] for family, found in wanted.items())
    for each in zip_longest(*columns):
        row = [pair for pair in each if pair is not None]
        for seed in range(max(entry.seeds for _, entry in row)):
            for family, entry in row:
                if seed < entry.seeds:
                    words = (*entry.words, f"seed={seed}")
                    name = f"{family}/{known_as(words)},seed={seed}"
                    point = Point((*words, f"run.dir={folder / name}"), {"of": entry.about}, name)
                    planned[name] = _Planned(point, entry.minutes)
    return list(planned.values())


def _begin_anew(wanted: Sequence[Path]) -> None:
    """Moves unfinished runs that were copied from another machine aside: they lack weights."""
    for path in filter(is_run, wanted):
        [run] = find_runs(path)
        left = not run.damage and run.state != "finished" and run.status.get("saved")
        if left and not RunDirectory(path).checkpoints.exists():
            path.replace(aside(path))


def _finished(folder: Path) -> set[str]:
    return {str(run.path) for run in find_runs(folder) if run.state == "finished"}


def _train(
    planned: Sequence[_Planned],
    folder: Path,
    minutes: float | None,
    workers: int | None,
    on_done: Callable[[Outcome], None],
) -> list[Outcome]:
    """Trains the unfinished runs in parallel while there is time."""
    finished = _finished(folder)
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    todo = [each.point for each in planned if str(folder / each.point.name) not in finished]
    takes = {each.point.name: 60 * each.minutes for each in planned}

    def fits(point: Point) -> bool:
        return takes[point.name] <= end - time.monotonic()

    return pool.run_points(todo, train_point, workers, on_done, fits, end)


def meant(name: str) -> list[str]:
    """The families that a word names: one, or for `all` every one that lists something to train.

    Raises:
        UsageError: if none does.
    """
    if name != "all":
        families.find(name)
        return [name]
    found = [each for each in families.names() if (families.find(each).home / FILE).is_file()]
    if not found:
        raise UsageError("no family lists runs to train", expected=f"a {FILE} in one")
    return found
