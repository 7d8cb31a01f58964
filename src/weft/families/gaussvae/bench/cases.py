"""Benchmark: pictures of splats and their gradients; fits; training steps."""

from __future__ import annotations

from collections.abc import Iterator

from weft.families.gaussvae.bench.fitting import fitting_cases
from weft.families.gaussvae.bench.rendering import rendering_cases
from weft.families.gaussvae.bench.training import training_cases
from weft.task.bench import Case


def cases(full: bool) -> Iterator[Case]:
    """What each kind of case says of itself.

    Args:
        full: not needed; the cases say themselves whether they take long.
    """
    yield from rendering_cases()
    yield from fitting_cases()
    yield from training_cases()
