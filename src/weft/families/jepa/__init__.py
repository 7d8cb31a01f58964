"""jepa: predictive world models of moving dots, and what they keep when the background stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.config.kinds import Kind
from weft.families.jepa.aliases import ALIASES
from weft.families.jepa.config import Config
from weft.families.jepa.sections import Clean, Lars, Published
from weft.family import Family

if TYPE_CHECKING:
    from weft.families.jepa.dots import MovingDots

__all__ = ["FAMILY", "MovingDots"]

FAMILY = Family(
    name="jepa",
    summary="predictive world models of moving dots, probed for where the dot is",
    config=Config,
    task="weft.families.jepa.task:JepaTask",
    default="clean",
    # VICReg's spread and covariances and SimCLR's negatives are functions of the whole batch.
    parallel="none",
    table="weft.families.jepa.table:presets",
    bench="weft.families.jepa.bench:cases",
    comparison="weft.families.jepa.comparison:figures",
    aliases=ALIASES,
    optimisers={"lars": Kind(Lars, "weft.families.jepa.lars:lars")},
    schedules={
        "clean": Kind(Clean, "weft.families.jepa.schedule:CleanSchedule"),
        "published": Kind(Published, "weft.families.jepa.schedule:PublishedSchedule"),
    },
)


def __getattr__(name: str) -> Any:
    """`MovingDots`, imported (and torch with it) when first asked for."""
    if name == "MovingDots":
        from weft.families.jepa.dots import MovingDots

        return MovingDots
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
