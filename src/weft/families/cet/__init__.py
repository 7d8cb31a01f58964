"""cet: learning from errors that come late, with cascading eligibility traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.config.family import Family, Stacking
from weft.families.cet.config import Config, parallel
from weft.families.cet.options.aliases import ALIASES
from weft.lazy import lazy

if TYPE_CHECKING:
    from weft.families.cet.trace.conversion import convert, revert, summary

__all__ = ["FAMILY", "convert", "revert", "summary"]

FAMILY = Family(
    name="cet",
    summary="MLP and CNN under delayed credit, learning by cascading eligibility traces",
    config=Config,
    task="weft.families.cet.task:task_of",
    default="digits",
    parallel=parallel,
    bench="weft.families.cet.bench:cases",
    comparison="weft.families.cet.figures.delays:figures",
    aliases=ALIASES,
    stack=Stacking(
        "weft.families.cet.forms.stacked:stack",
        ("delay", "order", "kernel", "readout", "error", "covariance"),
    ),
)

__getattr__ = lazy(__name__, dict.fromkeys(("convert", "revert", "summary"), ".trace.conversion"))
