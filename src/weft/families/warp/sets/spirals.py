"""Two-dimensional decaying spirals, clockwise or not: the set of the neural-CDE tutorial."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.data.source import Batch
from weft.families.warp.config import Config
from weft.families.warp.sets.generated import sizes_of, stream_of
from weft.families.warp.sets.source import Header, Parts, extremes, identity

_SIZES = {"train": 1_000, "test": 1_000}
_DECAY, _TURN, _END = 0.3, 2.0, 4 * torch.pi


def spirals(angles: Tensor, clockwise: Tensor, steps: int) -> Tensor:
    """x(t) = e^{Mt} x(0) with M = [[-.3, 2], [-2, -.3]] at even times in [0, 4 pi].

    M rotates clockwise; a reflection at the second axis (sign of the first entry) reverses this.

    Args:
        angles: of x(0) on the unit circle before the mirror, radians, float64 (N,).
        clockwise: bool (N,).
        steps: T.
    Returns: float64 (N, T, 2).
    """
    times = torch.linspace(0, _END, steps, dtype=torch.float64)
    phase = angles[:, None] - _TURN * times
    mirror = torch.where(clockwise, 1.0, -1.0)[:, None]
    return torch.exp(-_DECAY * times)[:, None] * torch.stack((mirror * phase.cos(), phase.sin()), 2)


def header(config: Config) -> Header:
    """Two classes of spirals, 100 steps."""
    steps = config.data.sequence_length or 100
    return Header(steps, 2, sizes_of(config, _SIZES), num_classes=2)


def load(config: Config) -> Parts:
    """Makes the spirals; label 1 is clockwise, and labels alternate."""
    about = header(config)
    made = {split: _split(config, split, size, about.steps) for split, size in about.sizes.items()}
    fit = extremes(positive=config.unit_normalise) if config.data.normalize else identity
    return Parts(made["train"], made["test"], fit=fit)


def _split(config: Config, split: str, size: int, steps: int) -> Batch:
    generator = stream_of(config, "spirals", split)
    angles = torch.rand(size, generator=generator, dtype=torch.float64) * (2 * torch.pi)
    label = torch.arange(size) % 2
    return {"x": spirals(angles, label == 1, steps).float(), "label": label}
