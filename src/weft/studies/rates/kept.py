"""A study of rates that keeps its runs in a folder, so that it can be continued."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.atomic import write_text
from weft.errors import RunError
from weft.run.directory import RunDirectory, keep_plan
from weft.run.registry import find_runs
from weft.studies.interior import best, beyond
from weft.studies.rates.runs import Setting, Study
from weft.sweeps.grid import Point
from weft.sweeps.pool import refuse_stopped, run_points

if TYPE_CHECKING:
    from weft.run.registry import Run
    from weft.sweeps.grid import Point
    from weft.sweeps.pool import Outcome

_UNSAFE = re.compile(r"[^\w.+=,()\-]+")


@dataclass(frozen=True)
class Kept:
    """A study whose runs are kept in a folder, as a sweep's are.

    Runs are trained in rounds, each with all runs known to be needed: first every cell at every
    rate with seed 0; then the other seeds of cells whose best rate has a worse one on either side,
    and further rates of the other cells.

    Attributes:
        study: its `out` gets a line for every finished run after each round.
        folder: of the runs.
        stack: whether the runs of a round are trained as one stack; otherwise in processes.
        workers: processes at a time.
        failed: names of runs that failed in this call, which are not tried again in it.
    """

    study: Study
    folder: Path
    stack: bool
    workers: int | None
    failed: set[str] = field(default_factory=set)

    def run(self, cells: Sequence[Setting]) -> None:
        """Trains all missing runs.

        Raises:
            PlaceTaken: if the folder holds another study.
            UsageError: if `stack` is set and the runs cannot be stacked.
            Interrupted: if a signal stopped it.
        """
        plan = {"words": [list(cell.words) for cell in cells]}
        keep_plan(self.folder, "rates", plan, "a study of rates", "rates and seeds")
        while True:
            self._write(cells)
            done = self._finished()
            wanted = {p.name: p for cell in cells for p in self._points(cell, done)}
            todo = [p for name, p in wanted.items() if name not in {*done, *self.failed}]
            if not todo:
                return
            outcomes = self._train(todo)
            for outcome in outcomes:
                if outcome.state == "failed":
                    self.failed.add(outcome.point.name)
                    print(f"{outcome.point.name}: failed  {outcome.error}", flush=True)
            refuse_stopped(outcomes, str(self.folder), "the same command goes on with it")

    def _train(self, todo: list[Point]) -> list[Outcome]:
        place = RunDirectory(self.folder)
        place.lock()
        try:
            if self.stack:
                from weft.sweeps.stacked import run_stacked

                return run_stacked(todo)
            from weft.sweeps.point import train_point

            return run_points(todo, train_point, self.workers)
        finally:
            place.unlock()

    def _points(self, cell: Setting, done: dict[str, Run]) -> list[Point]:
        which, _ = self._plan(cell, done)
        return [self._point(cell, rate, seed) for rate, seed in which]

    def _plan(
        self, cell: Setting, done: dict[str, Run]
    ) -> tuple[list[tuple[str, int]], tuple[str, bool] | None]:
        """The runs of a cell that are known to be needed, as rate and seed; and, once it is known,
        the best rate and whether it has a worse one on either side."""
        study = self.study
        seeds = range(study.seeds)
        if study.own_rate(cell):
            return [("", seed) for seed in seeds], ("", True)
        rates = list(study.rates)
        while True:
            losses = {rate: self._loss(self._point(cell, rate, 0), done) for rate in rates}
            judged = {rate: loss for rate, loss in losses.items() if loss is not None}
            first = [(rate, 0) for rate in rates]
            if len(judged) < len(rates):
                return first, None
            more = beyond(judged, study.rates, study.further)
            if more is None:
                break
            rates.append(more)
        won = best(judged)
        ends = sorted(map(float, rates))
        inside = len(rates) < 2 or ends[0] < float(won) < ends[-1]
        return first + [(won, seed) for seed in seeds[1:]], (won, inside)

    def _loss(self, point: Point, done: dict[str, Run]) -> float | None:
        """The value that a rate is chosen by, lower is better; None if the run is missing."""
        if point.name in self.failed:
            return math.inf
        if point.name not in done:
            return None
        run = done[point.name]
        metric = run.declared[0]
        value = run.metrics.get(f"val/{metric.name}")
        if value is None:
            raise RunError(
                "this run was validated on nothing, and no rate can be chosen",
                where=str(run.path),
                hint="hold a part of the training data out, such as by data.use_val=true",
            )
        return value if metric.better == "lower" else -value

    def _point(self, cell: Setting, rate: str, seed: int) -> Point:
        key = self.study.key
        values = {**cell.point, **({key: rate} if rate else {}), "seed": str(seed)}
        parts = [cell.form, *(f"{name}={value}" for name, value in values.items())]
        name = _UNSAFE.sub("-", ",".join(parts))
        own = [f"seed={seed}", *([f"{key}={rate}"] if rate else [])]
        return Point((*cell.words, *own, f"run.dir={self.folder / name}"), values, name)

    def _finished(self) -> dict[str, Run]:
        return {run.name: run for run in find_runs(self.folder) if run.state == "finished"}

    def _write(self, cells: Sequence[Setting]) -> None:
        """Writes a line of JSON for every finished run: seed 0 at every rate, all of the best."""
        done = self._finished()
        rows = []
        for cell in cells:
            which, found = self._plan(cell, done)
            won, inside = found or ("", False)
            for rate, seed in which:
                run = done.get(self._point(cell, rate, seed).name)
                if run is None:
                    continue
                if found is None or rate != won or (seed == 0 and rate):
                    rows.append(_row(cell, run, rate, seed))
                if found is not None and rate == won:
                    rows.append(_row(cell, run, rate, seed, inside=inside))
        write_text(self.study.out, "".join(json.dumps(row) + "\n" for row in rows))


def _row(
    cell: Setting, run: Run, rate: str, seed: int, inside: bool | None = None
) -> dict[str, Any]:
    """A run's line; with test metrics only if its rate was chosen."""
    chosen, metric, steps = inside is not None, run.declared[0], run.resolved["total_steps"]
    split = "test/" if chosen else "val/"
    return {
        "form": cell.form,
        **cell.point,
        "selects": metric.name,
        "better": metric.better,
        "rate": rate,
        "seed": seed,
        "steps": steps,
        "step_ms": 1e3 * run.status["seconds"] / steps,
        **{name: value for name, value in run.metrics.items() if name.startswith(split)},
        "chosen": chosen,
        **({"inside": inside} if chosen else {}),
    }
