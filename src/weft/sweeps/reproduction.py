"""Trains what families' tables need, most valuable first, until the minutes are used."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from weft import families
from weft.config.layer import dotted
from weft.config.load import load
from weft.config.yaml import read_file
from weft.errors import ConfigError, Interrupted, UsageError
from weft.reports.claims import by_metric, compare, load_claims
from weft.reports.html import card, safe, section, table_html, write
from weft.reports.settings import same_setting
from weft.reports.tables import Column, Table, format_seconds, markdown, mean_of
from weft.run.directory import RunDirectory
from weft.run.registry import Run, find_runs
from weft.sweeps import pool
from weft.sweeps.grid import Point
from weft.sweeps.point import train_point
from weft.sweeps.pool import Outcome

if TYPE_CHECKING:
    from weft.config.family import Family

FILE = "reproduce.yaml"
"""Where a family says, budget by budget, what is worth training; most valuable first."""

Budget = Literal["smoke", "cpu", "gpu", "paper"]


@dataclass(frozen=True)
class Entry:
    """A setting that a table needs.

    Attributes:
        about: what it shows.
        words: recipe and overrides.
        seeds: how many, from 0 on.
        minutes: what one run takes on the machine that the budget is of.
    """

    about: str
    words: tuple[str, ...]
    seeds: int = 1
    minutes: float = 1.0


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        tables: published numbers beside ours, and what was trained, family by family.
        text: the same as Markdown.
        page: the same as a page.
        outcomes: how each run that was tried ended.
        left: runs that there was no time for.
    """

    tables: list[Table]
    text: Path
    page: Path
    outcomes: list[Outcome]
    left: int


def entries(family: Family, budget: Budget) -> list[Entry]:
    """What the family says is worth training on a budget; nothing where it says nothing.

    Raises:
        ConfigError: if its file is wrong.
    """
    path = family.home / FILE
    if not path.is_file():
        return []
    content, _ = read_file(path)
    found = content.get(budget) or []
    try:
        if unknown := [key for key in content if key not in get_args(Budget)]:
            raise ValueError(f"`{unknown[0]}` is no budget")
        return [Entry(**{**entry, "words": tuple(entry["words"].split())}) for entry in found]
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"what is worth training is told wrongly: {error}",
            where=str(path),
            expected=f"budgets {', '.join(get_args(Budget))}, each a list of about, words, seeds "
            "and minutes",
        ) from error


def reproduce(
    names: Sequence[str],
    budget: Budget,
    minutes: float | None = None,
    root: Path = Path("runs/reproduce"),
    workers: int | None = None,
    on_done: Callable[[Outcome], None] | None = None,
) -> Reproduction:
    """Trains what is missing and writes the tables; the same call again goes on.

    A run is known by its family and its config, so that nothing is trained twice. A run begins only
    if what it is said to take still fits.

    Args:
        names: families.
        budget: whose entries count.
        minutes: wall time for training; as long as it takes by default.
        root: a folder below it, of the budget's name, holds all of it.
        workers: runs side by side; one per core or GPU by default.
        on_done: called as each run ends.

    Raises:
        UsageError: if the families name nothing for this budget.
        Interrupted: if a signal stopped it.
    """
    folder = root / budget
    wanted = {name: entries(families.find(name), budget) for name in names}
    if not any(wanted.values()):
        raise UsageError(
            f"nothing is said to be worth training on the budget `{budget}`",
            where=", ".join(names),
            expected=f"a {FILE} beside the family's claims.yaml",
        )
    planned = _points(folder, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    place = RunDirectory(folder)
    place.lock()
    try:
        outcomes, left = _train(planned, folder, minutes, workers, on_done)
    finally:
        place.unlock()
    if any(outcome.state == "stopped" for outcome in outcomes):
        by = next(filter(None, (outcome.by for outcome in outcomes)), "SIGINT")
        raise Interrupted(by, str(folder), again="the same command goes on with it")
    tables = [table for name in names for table in _tables(name, folder, wanted[name])]
    head = f"Budget `{budget}`: {len(planned) - left} of {len(planned)} runs."
    text = folder / "results.md"
    body = "\n".join(markdown(table) for table in tables)
    text.write_text(f"# Published and ours\n\n{head}\n\n{body}", encoding="utf-8")
    parts = [
        f'<header><div class="title"><h1>Published and ours</h1></div>'
        f'<p class="lead">{safe(head)}</p></header>',
        *(section(table.title, card(table_html(table))) for table in tables),
    ]
    page = write(folder / "report.html", "Published and ours", parts)
    return Reproduction(tables, text, page, outcomes, left)


@dataclass(frozen=True)
class _Planned:
    point: Point
    minutes: float


def _points(folder: Path, wanted: dict[str, list[Entry]]) -> list[_Planned]:
    """The runs in order: the most valuable entry of each family first, all its seeds after it."""
    rounds = zip_longest(*([(name, each) for each in found] for name, found in wanted.items()))
    planned: dict[str, _Planned] = {}
    for family, entry in (pair for each in rounds for pair in each if pair is not None):
        for seed in range(entry.seeds):
            words = (*entry.words, f"seed={seed}")
            name = f"{family}/{_known(words)},seed={seed}"
            point = Point((*words, f"run.dir={folder / name}"), {"about": entry.about}, name)
            planned[name] = _Planned(point, entry.minutes)
    return list(planned.values())


def _known(words: Sequence[str]) -> str:
    """What tells a config from others, in twelve letters."""
    config = load(words, families, {}).config
    text = same_setting(dotted(config.plain()))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _train(
    planned: Sequence[_Planned],
    folder: Path,
    minutes: float | None,
    workers: int | None,
    on_done: Callable[[Outcome], None] | None,
) -> tuple[list[Outcome], int]:
    """Trains side by side as many as are allowed, then the next, while there is time."""
    finished = {str(run.path) for run in find_runs(folder) if run.state == "finished"}
    todo = [each for each in planned if str(folder / each.point.name) not in finished]
    end = None if minutes is None else time.monotonic() + 60 * minutes
    outcomes: list[Outcome] = []
    abreast = workers or pool.cores()
    while todo:
        left = float("inf") if end is None else (end - time.monotonic()) / 60
        batch = [each for each in todo if each.minutes <= left][:abreast]
        if not batch:
            break
        todo = [each for each in todo if each not in batch]
        points = [each.point for each in batch]
        outcomes += pool.run_points(points, train_point, abreast, on_done)
        if any(outcome.state == "stopped" for outcome in outcomes):
            break
    return outcomes, len(todo)


def _tables(name: str, folder: Path, wanted: Sequence[Entry]) -> Iterator[Table]:
    """A family's claims that some run is meant by, and what was trained for it."""
    runs = [run for run in find_runs(folder / name) if run.state == "finished"]
    path = families.find(name).home / "claims.yaml"
    if path.is_file():
        table = compare(load_claims(path), runs)
        rows = tuple(row for row in table.rows if row["verdict"] != "not run")
        if rows:
            for each in by_metric(Table(table.columns, rows, note=table.note)):
                yield Table(each.columns, each.rows, f"{name}: {each.title}", each.note)
    yield _trained(name, folder, wanted, runs)


def _trained(name: str, folder: Path, wanted: Sequence[Entry], runs: Sequence[Run]) -> Table:
    """What was trained: each entry's leading number over its seeds."""
    known = {run.name: run for run in runs}
    rows: list[dict[str, Any]] = []
    for entry in wanted:
        names = [f"{_known((*entry.words, f'seed={n}'))},seed={n}" for n in range(entry.seeds)]
        found = [known[each] for each in names if each in known]
        row: dict[str, Any] = {"what": entry.about, "runs": f"{len(found)} of {entry.seeds}"}
        if found:
            metric = next(iter(_leading(found[0])), "")
            numbers = [run.metrics.get(metric) for run in found]
            seconds = max(float(run.status["seconds"]) for run in found)
            row |= {"metric": metric, "time": format_seconds(seconds)}
            row["ours"] = mean_of(numbers) if metric else None
        rows.append(row)
    columns = [Column(key, role="text") for key in ("what", "metric")]
    columns += [Column("ours"), Column("runs", role="text"), Column("time", role="text")]
    note = "mean ± standard error over seeds; the longest run's time"
    return Table(tuple(columns), tuple(rows), f"{name}: what was trained", note)


def _leading(run: Run) -> Iterator[str]:
    """Held-out names of the metric that selects, the test set's first."""
    for metric in run.declared:
        for split in ("test", "val"):
            if f"{split}/{metric.name}" in run.metrics:
                yield f"{split}/{metric.name}"


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
