"""Benchmark: the network beside its literal reference."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from weft.task.bench import Case, Form

from .model import Curve
from .reference import heights

WIDTH, POINTS = 32, 128


def cases() -> Iterator[Case]:
    """One forward pass over 128 points."""
    yield Case("forward", {"fast": _fast, "reference": _reference}, baselines=("reference",))


def _fast() -> Form:
    model, x = Curve(WIDTH), torch.linspace(-1, 1, POINTS)[:, None]
    return Form(torch.no_grad()(partial(model, x)), flops=4 * WIDTH * POINTS)


def _reference() -> Form:
    model, x = Curve(WIDTH), torch.linspace(-1, 1, POINTS).tolist()
    return Form(partial(heights, model, x, "tanh"), windows=3, steps_per_window=1)
