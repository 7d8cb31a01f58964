"""Which bases a study compares arms on: those that have learnt, chosen before arms are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from weft.errors import RunError
from weft.studies.admission import Check, last_quarter, plateau
from weft.studies.legs import judge
from weft.studies.plan import Study

if TYPE_CHECKING:
    from weft.run.registry import Run

TRIES = 3
"""At most so many bases are trained for each that is asked for."""

Train = Callable[[Sequence[int]], Mapping[int, "Run"]]
"""Trains the bases of some seeds, and returns those that finished."""


def admit(study: Study, train: Train) -> tuple[Study, dict[int, Run], tuple[str, ...]]:
    """Trains bases until as many have learnt as the study has seeds.

    Without `study.below` the base of every seed is taken as it is. Otherwise the next seed takes
    the place of one whose base is not below it or still falls. No arm has a say in that, so that
    differences between arms are those on bases that have learnt, and nothing else is selected.

    Args:
        study: what is compared.
        train: trains the bases of some seeds.

    Returns: the study with the seeds that are admitted; their bases; a line for each passed over.

    Raises:
        RunError: if a base does not finish, or `TRIES` times as many bases were too few.
    """
    asked = len(study.seeds)
    bases = _trained(study.seeds, train)
    passed: dict[int, str] = {}
    if math.isfinite(study.below):
        latest = max(study.seeds)
        while True:
            passed |= {seed: about for seed in bases if (about := _fails(study, seed, bases[seed]))}
            missing = asked - len(bases.keys() - passed.keys())
            if not missing:
                break
            if len(bases) + missing > TRIES * asked:
                raise RunError(
                    f"only {asked - missing} of {asked} bases have learnt: "
                    f"{'; '.join(passed.values())}",
                    where="--base-below",
                    hint="train bases for longer, or at another rate",
                )
            more = range(latest + 1, latest + 1 + missing)
            latest += missing
            bases |= _trained(more, train)
    taken = {seed: base for seed, base in bases.items() if seed not in passed}
    lines = tuple(f"passed over: {about}" for about in passed.values())
    return replace(study, seeds=tuple(taken)), taken, lines


def _trained(seeds: Sequence[int], train: Train) -> dict[int, Run]:
    found = train(seeds)
    missing = [f"base,seed={seed}" for seed in seeds if seed not in found]
    if missing:
        raise RunError(f"no base: {', '.join(missing)} did not finish")
    return {seed: found[seed] for seed in seeds}


def _fails(study: Study, seed: int, base: Run) -> str:
    """What a base falls short of; empty if it has learnt."""
    loss = judge(study.comparison, base)
    fell = last_quarter(base.history(), f"val/{study.comparison.loss}")
    checks = (
        Check(f"base of seed {seed}: loss {loss:.4f} (below {study.below:g})", loss < study.below),
        plateau(f"base of seed {seed}", fell, study.tolerance),
    )
    return ", and ".join(check.about for check in checks if not check.held)
