"""Benchmark: time to generate a batch, separably and on demand, and as the original does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch

from weft.data.random import stream
from weft.families.jepa.reference import episodes
from weft.families.jepa.sets.backgrounds import grey
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.scene import THREE_DOTS, Norm, Scene
from weft.task.bench import Case, Form

_BATCH_SIZE = 64
# Random pictures of CIFAR-10's shape: the time does not depend on their content.
_IMAGES = (5000, 3, 32, 32)


def data_cases() -> list[Case]:
    """Batches of 64 episodes of 17 frames, one case for each kind of scene."""
    one, three = Scene(), Scene(walks=THREE_DOTS)
    return [
        _case("data-clean", one),
        _case("data-fixed-structured", Scene(fixed_noise=1.0), pictures=True),
        _case("data-fixed-uniform", Scene(fixed_noise=1.0)),
        _case("data-changing-structured", Scene(changing_noise=1.0), pictures=True, full=True),
        _case("data-changing-uniform", Scene(changing_noise=1.0), full=True),
        _case("data-three-dots", three, full=True),
    ]


def _case(name: str, scene: Scene, *, pictures: bool = False, full: bool = False) -> Case:
    forms: dict[str, Callable[[], Form]] = {
        "weft": lambda: _weft(scene, pictures),
        "reference": lambda: _reference(scene, pictures),
    }
    return Case(name, forms, baselines=("reference",), full=full)


def _images() -> torch.Tensor:
    return torch.randint(0, 256, _IMAGES, dtype=torch.uint8)


def _weft(scene: Scene, pictures: bool) -> Form:
    backgrounds = grey(_images(), scene.size) if pictures else None
    source = DotsSource.of(scene, backgrounds, batch_size=_BATCH_SIZE, norm_batches=2)
    indices, steps = source.plan(0, 0)[0], count()
    return Form(lambda: source.take(indices, stream(0, next(steps), "data")), steps_per_window=20)


def _reference(scene: Scene, pictures: bool) -> Form:
    stock = episodes.pictures(_images(), scene.size) if pictures else None
    norm = Norm.raw(scene.num_dots)
    return Form(
        lambda: episodes.batch(scene, norm, _BATCH_SIZE, stock),
        windows=3 if pictures else 20,
        steps_per_window=1,
    )
