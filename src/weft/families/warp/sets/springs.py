"""Mass-spring-damper systems: position and velocity, exact."""

# N sequences, T steps; computed in float64

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp.config import Config
from weft.families.warp.sets.generated import Ranges, sizes_of, stream_of, uniform
from weft.families.warp.sets.source import Header, Parts, extremes, identity

_STEPS = 256
# MSD-Zero has no published generator; here it is msd-2, with random starts.
_SIZES = {
    "msd": {"train": 20_480, "test": 4_096},
    "msd-zero": {"train": 8_192, "test": 2_048},
    "msd-2": {"train": 8_192, "test": 2_048},
}
# Parameters of test sets have wider ranges than in training.
_RANGES: dict[str, Ranges] = {
    "train": {"m": (0.02, 0.04), "k": (4, 16), "c": (0.01, 0.2)},
    "test": {"m": (0.01, 0.05), "k": (2, 18), "c": (0.01, 0.3)},
}


def mass_spring(
    m: Tensor, k: Tensor, c: Tensor, start: Tensor, steps: int, end: float = 1.0
) -> Tensor:
    """Position and velocity of x'' = -(k/m) x - (c/m) x' at even times in [0, end], exact.

    Args:
        m, k, c: mass, stiffness and damping, float64 (N,).
        start: position and velocity at time 0, (N, 2).
        steps: T >= 2.
        end: time of the last sample.
    Returns: (N, T, 2).
    """
    power = propagator(m, k, c, end / (steps - 1))
    path = start.new_empty(2, steps, len(m))
    path[:, 0] = start.T
    # With M^n known and n samples made, the next n are M^n times those: log2(T) products.
    made = 1
    while made < steps:
        new = min(made, steps - made)
        x, v = path[:, :new]
        for row, (by_x, by_v) in zip(path[:, made : made + new], power, strict=True):
            torch.addcmul(x * by_x, v, by_v, out=row)
        power = torch.einsum("ijn,jkn->ikn", power, power)
        made += new
    return path.permute(2, 1, 0)


def propagator(m: Tensor, k: Tensor, c: Tensor, time: float) -> Tensor:
    """e^{Et} of E = [[0, 1], [-k/m, -c/m]], (2, 2, N), underdamped or overdamped.

    With g = c/2m and w^2 = k/m - g^2 of either sign, it is
    e^{-gt} (cos(wt) I + sin(wt)/w (E + g I)).
    """
    stiffness, damping = k / m, c / (2 * m)
    square = stiffness - damping.square()
    angle = square.abs().sqrt() * time
    swings = square >= 0
    # sinh(z)/z below 1e-4 by its series; sinc covers the underdamped case down to zero.
    large = angle.clamp(min=1e-4)
    creeping = torch.where(angle < 1e-4, 1 + angle.square() / 6, large.sinh() / large)
    even = torch.where(swings, angle.cos(), angle.cosh())
    odd = time * torch.where(swings, torch.sinc(angle / torch.pi), creeping)
    rows = ((even + damping * odd, odd), (-stiffness * odd, even - damping * odd))
    return torch.exp(-damping * time) * torch.stack([torch.stack(row) for row in rows])


def header(config: Config) -> Header:
    """Springs that start at rest from 1 (msd), or anywhere near it."""
    sizes = sizes_of(config, _SIZES[config.data.dataset])
    return Header(config.data.sequence_length or _STEPS, 2, sizes)


def load(config: Config) -> Parts:
    """The generated sequences, a function of (data.seed, split), their number and length."""
    about = header(config)
    made = {split: _part(config, split, size, about.steps) for split, size in about.sizes.items()}
    fit = extremes(positive=config.unit_normalise) if config.data.normalize else identity
    return Parts({"x": made["train"]}, {"x": made["test"]}, fit=fit)


def _part(config: Config, split: str, size: int, steps: int) -> Tensor:
    # One stream for all: msd-zero and msd-2 are one set.
    generator = stream_of(config, "msd", split)
    m, k, c = uniform(_RANGES[split], size, generator)
    start = torch.tensor((1.0, 0.0), dtype=torch.float64).expand(size, 2)
    if config.data.dataset != "msd":
        start = start + torch.rand(size, 2, generator=generator, dtype=torch.float64) - 0.5
    return mass_spring(m, k, c, start, steps).float().contiguous()
