"""feedback: a masked-diffusion language model, and a network that writes into its weights."""

from __future__ import annotations

from weft.config.family import Family
from weft.config.kinds import Kind
from weft.families.feedback.config import Config
from weft.families.feedback.options.aliases import ALIASES
from weft.families.feedback.options.arms import COMPARISON
from weft.families.feedback.options.sections import WarmupCosine

__all__ = ["FAMILY"]

FAMILY = Family(
    name="feedback",
    summary="masked-diffusion language model, adapted by a network that writes LoRA deltas",
    config=Config,
    task="weft.families.feedback.task:FeedbackTask",
    default="text",
    parallel="items",
    bench="weft.families.feedback.bench:cases",
    aliases=ALIASES,
    compared=COMPARISON,
    kinds={
        "schedule": {
            "warmup_cosine": Kind(
                WarmupCosine, "weft.families.feedback.optim.warmup_cosine:WarmupCosineSchedule"
            ),
        },
    },
)
