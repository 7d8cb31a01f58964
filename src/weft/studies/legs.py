"""Summarises the runs of the study `controls`: a table, checks, and a verdict on each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from weft.config.family import Comparison
from weft.reports.tables import Cell, Column, Table, mean_of
from weft.studies.admission import (
    Check,
    Difference,
    below,
    interior,
    last_quarter,
    plateau,
    verdict,
)

if TYPE_CHECKING:
    from weft.run.registry import Run
    from weft.sweeps.grid import Point

STEPS, FLOPS = "steps", "FLOPs"


@dataclass(frozen=True)
class Leg:
    """An arm on one of the budgets.

    Attributes:
        arm: its name.
        budget: `STEPS` or `FLOPS`.
        rate: its learning rate.
        rates: all rates that were tried.
        points: its runs, one a seed.
    """

    arm: str
    budget: str
    rate: str
    rates: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """Arm and budget, in words."""
        return f"{self.arm} at equal {self.budget}"


@dataclass(frozen=True)
class Sums:
    """The result of a comparison.

    Attributes:
        table: a row for each arm and budget.
        lines: checks of the bases, then a verdict on each arm that is not a control.
        curves: (arm, budget) -> (step, loss) of the first seed.
    """

    table: Table
    lines: tuple[str, ...]
    curves: Mapping[tuple[str, str], tuple[tuple[int, float], ...]]


def judge(comparison: Comparison, run: Run | None) -> float:
    """The validation loss of a run; infinite if there is none."""
    loss = None if run is None else run.metrics.get(f"val/{comparison.loss}")
    return loss if loss is not None and math.isfinite(loss) else math.inf


def summarise(
    comparison: Comparison,
    legs: Sequence[Leg],
    controls: Sequence[str],
    bases: Mapping[int, Run],
    runs: Mapping[str, Run],
    tolerance: float,
) -> Sums:
    """Means and standard errors over seeds, and differences paired by seed.

    Losses are those on the test data, or on the validation data if there are no test data. The best
    control of a budget is the one with the lowest mean validation loss.

    Args:
        comparison: arms and metrics that the family declares.
        legs: arms on budgets.
        controls: the arms that the others are compared with.
        bases: seed -> base run.
        runs: finished runs by name.
        tolerance: share by which a loss may still fall in the last quarter of a run.
    """
    tested = any(f"test/{comparison.loss}" in run.metrics for run in runs.values())
    split = "test" if tested else "val"
    key = f"{split}/{comparison.loss}"
    done = {id(leg): [runs[p.name] for p in leg.points if p.name in runs] for leg in legs}
    best = _best(comparison, legs, controls, runs)
    ground = _ground(
        comparison, bases, [run for found in done.values() for run in found], tolerance
    )
    lines = [f"{'ok' if check.held else 'FAILS'}: {check.about}" for check in ground]
    rows: list[dict[str, Cell]] = []
    for leg in legs:
        rival = best[leg.budget]
        own = {id(one): _own(comparison, one, done[id(one)], tolerance) for one in (leg, rival)}
        row = _row(comparison, leg, done[id(leg)], split)
        row["checks"] = _failing(own[id(leg)])
        apart = _apart(leg, rival, runs, key)
        if leg is not rival and apart:
            row["against"] = mean_of(apart)
        rows.append(row)
        if leg.arm not in controls:
            checks = [*ground, *own[id(leg)], *own[id(rival)]]
            difference = Difference.of(apart or [math.nan])  # NaN if runs are missing
            lines.append(verdict(leg.name, rival.arm, difference, checks))
    curves = {(leg.arm, leg.budget): _curve(comparison, done[id(leg)][:1]) for leg in legs}
    return Sums(Table(_columns(comparison, split), tuple(rows), _note(best)), tuple(lines), curves)


def _best(
    comparison: Comparison, legs: Sequence[Leg], controls: Sequence[str], runs: Mapping[str, Run]
) -> dict[str, Leg]:
    """For each budget the control with the lowest mean validation loss."""

    def loss(leg: Leg) -> float:
        return fmean(judge(comparison, runs.get(point.name)) for point in leg.points)

    return {
        budget: min((leg for leg in legs if leg.budget == budget and leg.arm in controls), key=loss)
        for budget in dict.fromkeys(leg.budget for leg in legs)
    }


def _note(best: Mapping[str, Leg]) -> str:
    rivals = " and ".join(f"{leg.arm} (equal {budget})" for budget, leg in best.items())
    return (
        "mean ± standard error over n seeds, each with its own base; differences are paired; rates "
        "were chosen for each arm and budget on validation data; the best control by validation "
        f"data: {rivals}"
    )


def _columns(comparison: Comparison, split: str) -> tuple[Column, ...]:
    return (
        Column("arm", role="axis"),
        Column("budget", "at equal", role="axis"),
        Column("lr", role="text"),
        Column("trained", role="text"),
        Column("steps", role="text"),
        Column("seconds", "time", unit="s"),
        Column("n", role="text"),
        Column("loss", f"{split} loss"),
        Column("against", "loss - best control's"),
        *(Column(metric, title) for metric, title in comparison.shown.items()),
        Column("checks", role="text"),
    )


def _row(comparison: Comparison, leg: Leg, runs: Sequence[Run], split: str) -> dict[str, Cell]:
    """The cells of an arm that follow from its own finished runs, except its checks."""
    row: dict[str, Cell] = {"arm": leg.arm, "budget": leg.budget, "lr": leg.rate, "n": len(runs)}
    if not runs:
        return row
    row["trained"] = int(runs[0].resolved["parameters"])
    row["steps"] = int(runs[0].resolved["total_steps"])
    row["seconds"] = mean_of([float(run.status["seconds"]) for run in runs])
    for name, metric in (("loss", comparison.loss), *((m, m) for m in comparison.shown)):
        if all(f"{split}/{metric}" in run.metrics for run in runs):
            row[name] = mean_of([run.metrics[f"{split}/{metric}"] for run in runs])
    return row


def _ground(
    comparison: Comparison, bases: Mapping[int, Run], runs: Sequence[Run], tolerance: float
) -> list[Check]:
    """The checks of the base of each seed."""
    checks = []
    for seed, base in bases.items():
        name = f"base of seed {seed}"
        fell = last_quarter(base.history(), f"val/{comparison.loss}")
        checks.append(plateau(name, fell, tolerance))
        on_it = [run.metrics for run in runs if int(run.config["seed"]) == seed]
        keys = (f"val/{comparison.before}", f"val/{comparison.trivial}")
        pair = next((m for m in on_it if all(key in m for key in keys)), {})
        checks.append(below(name, pair.get(keys[0]), pair.get(keys[1])))
    return checks


def _own(comparison: Comparison, leg: Leg, runs: Sequence[Run], tolerance: float) -> list[Check]:
    """The checks of an arm: all runs finished, its rate inside the grid, its curves flat."""
    done = Check(f"{leg.name}: {len(runs)} of {len(leg.points)} runs finished",
                 len(runs) == len(leg.points))  # fmt: skip
    falls = [last_quarter(run.history(), f"val/{comparison.loss}") for run in runs]
    known = [fell for fell in falls if fell is not None]
    fell = fmean(known) if known and len(known) == len(falls) else None
    own = bool(comparison.arms[leg.arm].rates)
    return [
        done,
        interior(leg.name, leg.rate, leg.rates, own=own),
        plateau(leg.name, fell, tolerance),
    ]


def _failing(checks: Sequence[Check]) -> str:
    """The names of an arm's checks that fail, one word each."""
    words = ("unfinished", "rate at an end", "not converged")
    return ", ".join(w for w, check in zip(words, checks, strict=True) if not check.held) or "ok"


def _apart(leg: Leg, rival: Leg, runs: Mapping[str, Run], key: str) -> list[float]:
    """Differences of loss for each seed that both have."""
    pairs = zip(leg.points, rival.points, strict=True)
    both = [(runs[a.name].metrics, runs[b.name].metrics)
            for a, b in pairs if a.name in runs and b.name in runs]  # fmt: skip
    return [one[key] - other[key] for one, other in both if key in one and key in other]


def _curve(comparison: Comparison, runs: Sequence[Run]) -> tuple[tuple[int, float], ...]:
    key = f"val/{comparison.loss}"
    return tuple((int(row["step"]), float(row[key]))
                 for run in runs for row in run.history() if key in row)  # fmt: skip
