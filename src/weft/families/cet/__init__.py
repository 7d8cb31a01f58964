"""cet: learning from errors that come late, with cascading eligibility traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.families.cet.aliases import ALIASES
from weft.families.cet.config import Config
from weft.family import Family

if TYPE_CHECKING:
    from weft.families.cet.conversion import convert, revert

__all__ = ["FAMILY", "convert", "revert"]

FAMILY = Family(
    name="cet",
    summary="MLP and CNN under delayed credit, learning by cascading eligibility traces",
    config=Config,
    task="weft.families.cet.task:CetTask",
    default="digits",
    parallel="streams",
    bench="weft.families.cet.bench:cases",
    aliases=ALIASES,
)


def __getattr__(name: str) -> Any:
    """`convert` and `revert`, imported (and torch with them) when first asked for."""
    if name in ("convert", "revert"):
        from importlib import import_module

        return getattr(import_module("weft.families.cet.conversion"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
