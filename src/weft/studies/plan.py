"""What a comparison trains, arms on equal budgets, and how that is told before it starts."""

from __future__ import annotations

import math
import shlex
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weft.config.family import Comparison
from weft.studies.legs import FLOPS, STEPS

if TYPE_CHECKING:
    from weft.sweeps.grid import Point

LOOKS = 8
"""Evaluations of a run, the last one included: enough to see whether its loss still falls."""


@dataclass(frozen=True)
class Study:
    """What is compared, and on what budget.

    Attributes:
        comparison: arms and metrics that the family declares.
        words: recipe and `key=value` that all arms share.
        base: recipe and `key=value` of the base.
        arms: names of the arms to compare.
        budgets: `STEPS`, the recipe's number of steps; `FLOPS`, as many steps as cost what the
            recipe's steps cost for `yardstick`.
        yardstick: an arm, or "" for the recipe as it is.
        rates: learning rates. For each budget an arm without rates of its own takes the best one on
            the first seed's validation data; the grid grows until the best is not at its end.
        grow: how often the grid may grow at either end.
        seeds: number of seeds, each with a base and a run of every arm.
        tolerance: share by which a loss may still fall in the last quarter of a run.
        below: a base must have a lower validation loss, or that of the next seed takes its place;
            infinite: the base of every seed is taken.
        folder: of the runs.
    """

    comparison: Comparison
    words: tuple[str, ...]
    base: tuple[str, ...]
    arms: tuple[str, ...]
    budgets: tuple[str, ...]
    yardstick: str
    rates: tuple[str, ...]
    grow: int
    seeds: tuple[int, ...]
    tolerance: float
    below: float
    folder: Path

    def words_of(self, arm: str) -> tuple[str, ...]:
        """All words of an arm, except base, rate, steps and seed."""
        return (*self.words, *(self.comparison.arms[arm].words if arm else ()))

    def rates_of(self, arm: str) -> tuple[str, ...]:
        """The rates that an arm's search begins with."""
        return self.comparison.arms[arm].rates or self.rates

    def base_point(self, seed: int, steps: int) -> Point:
        """The base of a seed."""
        return self._point(f"base,seed={seed}", (*self.base, f"seed={seed}"), steps)

    def home(self, seed: int) -> str:
        """The directory of the base of a seed."""
        return str(self.folder / f"base,seed={seed}")

    def point(self, arm: str, rate: str, steps: int, seed: int) -> Point:
        """The run of an arm on the base of its seed."""
        words = (
            *self.words_of(arm),
            f"{self.comparison.key}={self.home(seed)}",
            f"optim.lr={rate}",
            f"steps={steps}",
            f"seed={seed}",
        )
        return self._point(f"{arm},lr={rate},steps={steps},seed={seed}", words, steps)

    def _point(self, name: str, words: tuple[str, ...], steps: int) -> Point:
        from weft.sweeps.grid import Point

        home = str(self.folder / name)
        looks = f"eval.every={max(1, steps // LOOKS)}"
        return Point((*words, looks, f"run.dir={home}"), {"run.dir": home}, name)


def told(study: Study, name: str, steps: int, base_steps: int) -> str:
    """The plan of a study, a line each for what is compared, on what, and how much it trains.

    Args:
        study: what is compared.
        name: what starts it, after `weft study controls`.
        steps: those of its recipe.
        base_steps: those of its base.
    """
    arms, seeds = study.comparison.arms, f"for each seed ({', '.join(map(str, study.seeds))})"
    if math.isfinite(study.below):
        seeds = (
            f"for each seed from {study.seeds[0]} on until {len(study.seeds)} are below "
            f"{study.below:g} and at their plateau"
        )
    budgets = {
        STEPS: f"{steps:,} steps",
        FLOPS: f"as many as cost the FLOPs of {steps:,} of {study.yardstick or 'the recipe'}",
    }
    lengths = ", and of ".join(budgets[budget] for budget in study.budgets)
    lines = {
        "recipe": shlex.join(study.words),
        "base": shlex.join(study.base),
        "controls": ", ".join(arm for arm in study.arms if arms[arm].control),
        "arms": ", ".join(arm for arm in study.arms if not arms[arm].control),
        "trains": f"a base of {base_steps:,} steps {seeds}; then at least "
        f"{runs(study)} runs: of {lengths}",
        "start": f"weft study controls {name}",
    }
    return "\n".join(_lines(lines.items()))


def runs(study: Study) -> int:
    """The least number of runs beside the bases: of each arm on each budget as many on the first
    seed as tell that a rate between others is best, and one on each other seed."""
    arms = study.comparison.arms
    searched = (len(arms[a].rates) or max(3, len(study.rates)) for a in study.arms)
    return len(study.budgets) * sum(tried + len(study.seeds) - 1 for tried in searched)


def _lines(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    width = max(40, shutil.get_terminal_size((80, 24)).columns)
    for key, value in rows:
        yield textwrap.fill(value, width, initial_indent=f"{key:<10}", subsequent_indent=" " * 10,
                            break_on_hyphens=False)  # fmt: skip
