"""feedback: a masked-diffusion language model, and a network that writes into its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.config.family import Family
from weft.config.kinds import Kind
from weft.families.feedback.config import Config
from weft.families.feedback.options.aliases import ALIASES
from weft.families.feedback.options.arms import COMPARISON
from weft.families.feedback.options.sections import WarmupCosine
from weft.lazy import lazy

if TYPE_CHECKING:
    from weft.families.feedback.nets.deltas import Factors
    from weft.families.feedback.nets.foreign import write_deltas
    from weft.families.feedback.nets.generator import AssocGenerator, OuterGenerator
    from weft.families.feedback.noise.process import masked_noise
    from weft.families.feedback.noise.sampling import Way, unmask
    from weft.families.feedback.objective import bound

__all__ = ["FAMILY", "AssocGenerator", "Factors", "OuterGenerator", "Way", "bound", "masked_noise",
           "unmask", "write_deltas"]  # fmt: skip

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
    studies={"sampling": "weft.studies.feedback_sampling:main"},
    verbs={"import": "weft.verbs.feedback_exchange:import_"},
    exports={"original": "weft.verbs.feedback_exchange:export"},
    kinds={
        "schedule": {
            "warmup_cosine": Kind(
                WarmupCosine, "weft.families.feedback.optim.warmup_cosine:WarmupCosineSchedule"
            ),
        },
    },
)

__getattr__ = lazy(
    __name__,
    {
        "AssocGenerator": ".nets.generator",
        "Factors": ".nets.deltas",
        "OuterGenerator": ".nets.generator",
        "Way": ".noise.sampling",
        "bound": ".objective",
        "masked_noise": ".noise.process",
        "unmask": ".noise.sampling",
        "write_deltas": ".nets.foreign",
    },
)
