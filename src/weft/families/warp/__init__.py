"""warp: sequence models whose state is the weight vector of a small network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.config.family import Family
from weft.config.kinds import Kind
from weft.families.warp.config import Config
from weft.families.warp.options.aliases import ALIASES
from weft.families.warp.options.sections import LiteralPlateau, Reference
from weft.lazy import lazy

if TYPE_CHECKING:
    from weft.families.warp.rnn import WeightSpaceRNN
    from weft.families.warp.score.streaming import Stream

__all__ = ["FAMILY", "Stream", "WeightSpaceRNN"]

FAMILY = Family(
    name="warp",
    summary="sequence models whose state is the weight vector of a small network",
    config=Config,
    task="weft.families.warp.task:WarpTask",
    default="digits-query",
    parallel="items",
    bench="weft.families.warp.bench:cases",
    aliases=ALIASES,
    studies={
        "contexts": "weft.studies.warp_contexts:main",
        "stream": "weft.studies.warp_stream:main",
    },
    kinds={
        "optim": {"reference": Kind(Reference, "weft.families.warp.optim.adabelief:reference")},
        "schedule": {
            "literal": Kind(LiteralPlateau, "weft.families.warp.optim.plateau:LiteralSchedule")
        },
    },
)

__getattr__ = lazy(__name__, {"WeightSpaceRNN": ".rnn", "Stream": ".score.streaming"})
