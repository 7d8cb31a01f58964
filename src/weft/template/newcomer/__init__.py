"""newcomer: a curve learnt from noisy points. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.config.family import Family
from weft.lazy import lazy

from .config import Config

if TYPE_CHECKING:
    from .model import Curve

__all__ = ["FAMILY", "Curve"]

FAMILY = Family(
    name="newcomer",
    summary="a curve learnt from noisy points",
    config=Config,
    task=f"{__name__}.task:NewcomerTask",
    default="small",
    bench=f"{__name__}.bench:cases",
)

# The public component, imported when it is asked for.
__getattr__ = lazy(__name__, {"Curve": ".model"})
