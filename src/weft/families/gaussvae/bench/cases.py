"""Benchmark: pictures of splats and their gradients; fits; training steps."""

from __future__ import annotations

from collections.abc import Iterator

from weft.families.gaussvae.bench.fitting import fitting_cases
from weft.families.gaussvae.bench.rendering import rendering_cases
from weft.families.gaussvae.bench.training import training_cases
from weft.task.bench import Case


def cases() -> Iterator[Case]:
    """All cases."""
    yield from rendering_cases()
    yield from fitting_cases()
    yield from training_cases()
