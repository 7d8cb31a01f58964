"""Conditions that runs must meet before a difference between arms counts, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from weft.plots.history import curve_of
from weft.reports.comparison import student


@dataclass(frozen=True)
class Check:
    """One condition.

    Attributes:
        about: what must hold, and what was found.
        held: whether it holds.
    """

    about: str
    held: bool


def last_quarter(history: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The share by which a loss fell in the last quarter of a run; None if it was not measured.

    The share is (best loss until 3/4 of the steps - best loss of all) / best loss of all.

    Args:
        history: rows with `step`, and with `key` at the steps where it was measured.
        key: name of the loss.
    """
    seen = [(step, loss) for step, loss in curve_of(history, key) if math.isfinite(loss)]
    if not seen:
        return None
    end = max(step for step, _ in seen)
    early = [loss for step, loss in seen if step <= 0.75 * end]
    if not early:
        return None
    best = min(loss for _, loss in seen)
    return (min(early) - best) / abs(best) if best else 0.0


def plateau(name: str, fell: float | None, most: float) -> Check:
    """Checks that a loss fell by at most the share `most` in the last quarter of a run."""
    told = "unknown: it was not evaluated before" if fell is None else f"{fell:.2%}"
    held = fell is not None and fell <= most
    return Check(f"{name} is at its plateau: last quarter {told} (at most {most:.2%})", held)


def below(name: str, loss: float | None, trivial: float | None) -> Check:
    """Checks that a base's loss is below that of guessing by frequencies alone."""
    if loss is None or trivial is None:
        return Check(f"{name} reads the data: not measured", False)
    told = f"{name} reads the data: loss {loss:.4f}, frequencies alone {trivial:.4f}"
    return Check(told, loss < trivial)


def interior(name: str, rate: str, rates: Sequence[str], *, own: bool = False) -> Check:
    """Checks that the best rate has a worse one on either side, or is fixed by the arm."""
    values = sorted(map(float, rates))
    held = own or values[0] < float(rate) < values[-1]
    return Check(f"{name}: best rate {rate} of {', '.join(sorted(rates, key=float))}", held)


_T80 = (1.376, 1.061, 0.978, 0.941, 0.920, 0.906, 0.896, 0.889, 0.883)
"""The .8 quantile of Student's t at 1, 2, … degrees of freedom (then the normal's)."""


@dataclass(frozen=True)
class Difference:
    """A paired difference of two arms' losses.

    Attributes:
        mean: over seeds; negative if the first arm is better.
        margin: half of its 95 % interval by Student's t; infinite for one seed.
        power: the difference that 80 % of such studies would detect; infinite for one seed.
        n: number of seeds.
    """

    mean: float
    margin: float
    power: float
    n: int

    @staticmethod
    def of(values: Sequence[float]) -> Difference:
        """The difference from its value for each seed."""
        n = len(values)
        if n < 2:
            return Difference(fmean(values), math.inf, math.inf, n)
        error, place = stdev(values) / math.sqrt(n), n - 2
        t = student(n - 1)
        t80 = _T80[place] if place < len(_T80) else 0.842
        return Difference(fmean(values), t * error, (t + t80) * error, n)

    @property
    def word(self) -> str:
        """`better`, `worse`, or `no difference`."""
        if abs(self.mean) <= self.margin:
            return "no difference"
        return "better" if self.mean < 0 else "worse"


def verdict(name: str, control: str, difference: Difference, checks: Sequence[Check]) -> str:
    """One sentence on an arm and the best control; for one seed, or if a check fails, why not.

    Args:
        name: of the arm.
        control: name of the control.
        difference: loss of the arm less that of the control.
        checks: conditions on both and on their bases.
    """
    broken = [check.about for check in checks if not check.held]
    if broken:
        return f"{name}: no verdict, for a check fails: {'; '.join(broken)}"
    if difference.n < 2:
        apart = f"{difference.mean:+.4f} from {control}"
        return f"{name}: no verdict, for one seed tells nothing of chance: {apart}"
    told = f"{difference.mean:+.4f} ± {difference.margin:.4f} (95 %, {difference.n} seeds)"
    power = f"; {difference.power:.4f} would be seen in 80 % of such studies"
    return f"{name}: {difference.word} than {control} by {told}{power}".replace(
        "no difference than", "no difference from"
    )
