"""jepa: predictive world models of moving dots, and their failure when the background is fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.config.family import Family
from weft.config.kinds import Kind
from weft.families.jepa.config import Config
from weft.families.jepa.options.aliases import ALIASES
from weft.families.jepa.options.sections import Clean, Lars, Published
from weft.lazy import lazy

if TYPE_CHECKING:
    from weft.families.jepa.sets.dots import MovingDots
    from weft.families.jepa.terms.contrast import infonce, nt_xent, within_infonce
    from weft.families.jepa.terms.sigreg import sigreg
    from weft.families.jepa.terms.spread import centred, covariance, var_ratio, variance_hinge

__all__ = [
    "FAMILY",
    "MovingDots",
    "centred",
    "covariance",
    "infonce",
    "nt_xent",
    "sigreg",
    "var_ratio",
    "variance_hinge",
    "within_infonce",
]

FAMILY = Family(
    name="jepa",
    summary="predictive world models of moving dots, probed for where the dot is",
    config=Config,
    task="weft.families.jepa.task:JepaTask",
    default="clean",
    # VICReg's spread and covariances and SimCLR's negatives are functions of the whole batch.
    parallel="none",
    table="weft.families.jepa.options.table:presets",
    bench="weft.families.jepa.bench.steps:cases",
    comparison="weft.families.jepa.figures.comparison:figures",
    aliases=ALIASES,
    studies={
        "plans": "weft.studies.jepa_plans:main",
        "probes": "weft.studies.jepa_probes:main",
        "rates": "weft.studies.rates.study:main",
        "tour": "weft.studies.jepa_tour:main",
    },
    kinds={
        "optim": {"lars": Kind(Lars, "weft.families.jepa.optim.lars:lars")},
        "schedule": {
            "clean": Kind(Clean, "weft.families.jepa.optim.warmup:CleanSchedule"),
            "published": Kind(Published, "weft.families.jepa.optim.warmup:PublishedSchedule"),
        },
    },
)

__getattr__ = lazy(
    __name__,
    {
        "MovingDots": ".sets.dots",
        "centred": ".terms.spread",
        "covariance": ".terms.spread",
        "infonce": ".terms.contrast",
        "nt_xent": ".terms.contrast",
        "sigreg": ".terms.sigreg",
        "var_ratio": ".terms.spread",
        "variance_hinge": ".terms.spread",
        "within_infonce": ".terms.contrast",
    },
)
