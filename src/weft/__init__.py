"""weft: a workbench for neural systems that keep what they know in unusual places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.lazy import lazy

if TYPE_CHECKING:
    from weft.api import (
        bench,
        compare,
        configure,
        doctor,
        dry_run,
        evaluate,
        export,
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
    from weft.version import __version__ as __version__

__all__ = [
    "bench",
    "compare",
    "configure",
    "doctor",
    "dry_run",
    "evaluate",
    "export",
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

__getattr__ = lazy(__name__, {**dict.fromkeys(__all__, "weft.api"), "__version__": "weft.version"})
