"""weft: a workbench for neural systems that keep what they know in unusual places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.api import (
        bench,
        configure,
        doctor,
        dry_run,
        evaluate,
        load,
        recipes,
        report,
        reproduce,
        resume,
        runs,
        sample,
        sweep,
        train,
    )

__all__ = [
    "bench",
    "configure",
    "doctor",
    "dry_run",
    "evaluate",
    "load",
    "recipes",
    "report",
    "reproduce",
    "resume",
    "runs",
    "sample",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    """Loads the verbs when first used: `import weft` alone imports neither torch nor pydantic."""
    if name not in __all__:
        raise AttributeError(f"module `weft` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module("weft.api"), name)
