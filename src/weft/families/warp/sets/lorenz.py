"""Trajectories on the attractor of Lorenz-63."""

# N sequences, T steps; computed in float64

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp.config import Config
from weft.families.warp.sets.generated import sizes_of, stream_of
from weft.families.warp.sets.source import Header, Parts, extremes, identity
from weft.families.warp.sets.taylor import integrate, product

_STEPS = 1_000
_SIZES = {"train": 48, "test": 16}


def lorenz63(start: Tensor, step: float, steps: int, *, order: int = 12) -> Tensor:
    """Lorenz' system with sigma 10, rho 28, beta 8/3, sampled every `step`.

    Args:
        start: float64 (N, 3).
        step: time between samples; order 12 has an error of about 1e-13 in a step of 0.01.
        steps: T.
        order: of the Taylor series.
    Returns: (N, T, 3).
    """

    def rate(rising: Tensor, falling: Tensor) -> Tensor:
        x, y, z = falling[0]
        xz = product(rising[:, 0], falling[:, 2])
        xy = product(rising[:, 0], falling[:, 1])
        return torch.stack((10 * (y - x), 28 * x - y - xz, xy - 8 / 3 * z))

    return integrate(rate, start, step, steps, order=order)


def header(config: Config) -> Header:
    """Three coordinates, 0.01 units of time apart."""
    return Header(config.data.sequence_length or _STEPS, 3, sizes_of(config, _SIZES))


def load(config: Config) -> Parts:
    """The generated sequences, a function of (data.seed, split), their number and length."""
    about = header(config)
    made = {split: _part(config, split, size, about.steps) for split, size in about.sizes.items()}
    fit = extremes(positive=config.unit_normalise) if config.data.normalize else identity
    return Parts({"x": made["train"]}, {"x": made["test"]}, fit=fit)


def _part(config: Config, split: str, size: int, steps: int) -> Tensor:
    generator = stream_of(config, "lorenz", split)
    start = torch.randn(size, 3, generator=generator, dtype=torch.float64) * 5
    start[:, 2] += 25
    # After about five units of time every start is on the attractor.
    settled = lorenz63(start, 0.025, 201, order=6)[:, -1]
    return lorenz63(settled, 0.01, steps).float().contiguous()
