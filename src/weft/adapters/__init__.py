"""Command lines under the module names of the last release; they will be removed in the next."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from weft.config.family import resolve

MOVED: Mapping[str, tuple[str, str]] = {
    "btsp_experiments": (
        "weft.papers.cet.btsp_experiments:main",
        "python -m weft.papers.cet.btsp_experiments",
    ),
    "feedback_compare": ("weft.studies.controls:main", "weft study controls"),
    "feedback_train": ("weft.papers.feedback.train:main", "python -m weft.papers.feedback.train"),
    "jepa_probes": ("weft.studies.jepa_probes:main", "weft study probes"),
    "jepa_train": ("weft.papers.jepa.train:main", "python -m weft.papers.jepa.train"),
    "warp_contexts": ("weft.studies.warp_contexts:main", "weft study contexts"),
    "warp_train": ("weft.papers.warp.train:main", "python -m weft.papers.warp.train"),
}
"""Module of this package -> where its `main` is now, and what to type instead."""


def moved(name: str) -> Callable[..., int]:
    """The `main` of an old module: prints once what to type now, then runs as before."""
    path, command = MOVED[name]

    def main(*arguments: object) -> int:
        notice = f"note: weft.adapters.{name} goes with the next release; type `{command}`"
        print(notice, file=sys.stderr, flush=True)
        code: int = resolve(path)(*arguments)
        return code

    return main
