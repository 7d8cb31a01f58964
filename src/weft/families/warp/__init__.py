"""warp: sequence models whose state is the weight vector of a small network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.config.kinds import Kind
from weft.families.warp.aliases import ALIASES
from weft.families.warp.config import Config
from weft.families.warp.sections import LiteralPlateau, Reference
from weft.family import Family

if TYPE_CHECKING:
    from weft.families.warp.model import WeightSpaceRNN
    from weft.families.warp.streaming import Stream

__all__ = ["FAMILY", "Stream", "WeightSpaceRNN"]

FAMILY = Family(
    name="warp",
    summary="sequence models whose state is the weight vector of a small network",
    config=Config,
    task="weft.families.warp.task:WarpTask",
    default="digits",
    parallel="items",
    bench="weft.families.warp.bench:cases",
    aliases=ALIASES,
    optimisers={"reference": Kind(Reference, "weft.families.warp.adabelief:reference")},
    schedules={"literal": Kind(LiteralPlateau, "weft.families.warp.plateau:LiteralSchedule")},
)

_LAZY = {"WeightSpaceRNN": "model", "Stream": "streaming"}


def __getattr__(name: str) -> Any:
    """`WeightSpaceRNN` and `Stream`, imported (and torch with them) when first asked for."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
