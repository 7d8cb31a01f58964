"""What a comparison would train, told before anything is: arms, runs, steps."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from weft.studies.legs import FLOPS, STEPS

if TYPE_CHECKING:
    from weft.studies.controls import Study


def told(study: Study, name: str, steps: int, base_steps: int) -> str:
    """The plan of a study, a line each for what is compared, on what, and how much it trains.

    Args:
        study: what is compared.
        name: what starts it, after `weft study controls`.
        steps: those of its recipe.
        base_steps: those of its base.
    """
    arms, seeds = study.comparison.arms, ", ".join(map(str, study.seeds))
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
        "trains": f"a base of {base_steps:,} steps for each seed ({seeds}); then at least "
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
