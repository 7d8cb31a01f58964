"""Trains what families' tables need, most valuable first, until the minutes are used."""

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
    """What came of it.

    Attributes:
        tables: published numbers beside ours, and what was trained, family by family.
        text: the same as Markdown.
        page: the same as a page.
        outcomes: how each run that was tried ended.
        left: runs that are not finished.
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
    """Trains what is missing and writes the tables; the same call again goes on.

    A run is known by its family and its config, so that nothing is trained twice. A run begins only
    if what it is said to take still fits, and one under way when the minutes are over is saved. The
    tables are written anew as each run ends.

    Args:
        names: families.
        budget: whose entries count.
        minutes: wall time for training; as long as it takes by default.
        root: all lies in its `reproduce/BUDGET`.
        workers: runs side by side; one per core or GPU by default.
        on_done: called as each run ends.
        out: a folder for all that was learnt but the weights; it is such a root too.

    Raises:
        UsageError: if the families name nothing for this budget.
        Interrupted: if a signal stopped it.
    """
    below = Path("reproduce") / budget
    folder = root / below
    wanted = {name: entries(families.find(name), budget) for name in names}
    if not any(wanted.values()):
        raise UsageError(
            f"nothing is said to be worth training on the budget `{budget}`",
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
    """The runs in order: each family's most valuable entry, seed by seed, then the next ones."""
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
    """Sets aside what was handed back unfinished: its weights stayed where it was trained."""
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
    """Trains what is not finished, side by side, while there is time."""
    finished = _finished(folder)
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    todo = [each.point for each in planned if str(folder / each.point.name) not in finished]
    takes = {each.point.name: 60 * each.minutes for each in planned}

    def fits(point: Point) -> bool:
        return takes[point.name] <= end - time.monotonic()

    return pool.run_points(todo, train_point, workers, on_done, fits, end)


def meant(name: str) -> list[str]:
    """The families that a word names: itself, or all that have something to train.

    Raises:
        UsageError: if none has.
    """
    if name != "all":
        families.find(name)
        return [name]
    found = [each for each in families.names() if (families.find(each).home / FILE).is_file()]
    if not found:
        raise UsageError("no family says what is worth training", expected=f"a {FILE} in one")
    return found
