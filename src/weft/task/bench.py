"""Cases of a benchmark, each with several forms of the same computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """One way to compute a case's step.

    Args:
        step: does the work once; called many times.
        flops: floating point operations of one call, or None if not counted.
        windows: timed windows; slow references take fewer.
        steps_per_window: calls in one window.
        device: where the work is done, `cpu` or `cuda`; its memory is what is measured.
    """

    step: Callable[[], object]
    flops: int | None = None
    windows: int = 20
    steps_per_window: int = 5
    device: str = "cpu"


@dataclass(frozen=True)
class Case:
    """A computation at one shape.

    Args:
        name: e.g. `mlp`.
        forms: form name -> a function that allocates what the form needs and returns it.
        baselines: forms whose times the others' are divided by.
        full: whether the case is measured only with `--full`.
    """

    name: str
    forms: Mapping[str, Callable[[], Form]]
    baselines: tuple[str, ...]
    full: bool = False
