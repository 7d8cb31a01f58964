"""Lotka-Volterra trajectories, of which the first steps are given and then to be repeated."""

# N sequences, T steps; computed in float64

from __future__ import annotations

import torch
from torch import Tensor

from weft.data.source import Batch
from weft.families.warp.config import Config
from weft.families.warp.sets.generated import Ranges, sizes_of, stream_of, uniform
from weft.families.warp.sets.source import Header, Parts, extremes
from weft.families.warp.sets.taylor import integrate, product

_STEPS = 256
_SIZES = {"train": 15_000, "test": 3_000}
# Parameters of test sets have wider ranges than in training.
_RANGES: dict[str, Ranges] = {
    "train": {"a": (20, 50), "b": (80, 120), "c": (80, 120), "d": (20, 50)},
    "test": {"a": (10, 60), "b": (70, 130), "c": (70, 130), "d": (10, 60)},
}


def lotka_volterra(rates: Tensor, start: Tensor, steps: int) -> Tensor:
    """Prey p' = a p - b p q and predators q' = c p q - d q at `steps` even times in [0, 1].

    Args:
        rates: a, b, c, d as float64 (4, N).
        start: p and q at time 0, (N, 2).
        steps: T >= 2.
    Returns: (N, T, 2).
    """
    a, b, c, d = rates

    def rate(rising: Tensor, falling: Tensor) -> Tensor:
        prey, predators = falling[0]
        met = product(rising[:, 0], falling[:, 1])
        return torch.stack((a * prey - b * met, c * met - d * predators))

    # Rates are up to about 400 per unit of time: 510 inner steps of order 12 have errors of 2e-10.
    inner = -(-510 // (steps - 1))
    return integrate(rate, start, 1 / (steps - 1), steps, order=12, substeps=inner)


def repeat_copy(paths: Tensor, cuts: Tensor, gap: int) -> tuple[Tensor, Tensor]:
    """The first steps of each path as input, and their endless repetition as target.

    Args:
        paths: (N, T, d).
        cuts: n, number of steps that are given and then repeated, int64 (N,).
        gap: zero steps between two copies.
    Returns: input (first n steps, then zeros) and target (copies from step 0, n + gap, …).
    """
    steps = torch.arange(paths.shape[1])
    cuts = cuts[:, None]
    place = steps % (cuts + gap)
    shown = (place < cuts)[..., None]
    copies = paths.gather(1, place.clamp(max=paths.shape[1] - 1)[..., None].expand_as(paths))
    return paths * (steps < cuts)[..., None], copies * shown


def header(config: Config) -> Header:
    """Prey and predators; the target is their repetition."""
    steps = config.data.sequence_length or _STEPS
    return Header(steps, 2, sizes_of(config, _SIZES), outputs=2)


def load(config: Config) -> Parts:
    """The generated sequences, a function of (data.seed, split), their number and length."""
    about = header(config)
    made = {split: _part(config, split, size, about.steps) for split, size in about.sizes.items()}
    return Parts(made["train"], made["test"], fit=extremes(positive=config.unit_normalise))


def _part(config: Config, split: str, size: int, steps: int) -> Batch:
    generator = stream_of(config, "lotka", split)
    rates = uniform(_RANGES[split], size, generator)
    paths = lotka_volterra(rates, torch.ones(size, 2, dtype=torch.float64), steps)
    # Cuts of 32..63 and gaps of 50 in the 256 steps of the original, in proportion elsewhere.
    low = max(1, steps // 8)
    cuts = torch.randint(low, max(low + 1, steps // 4), (size,), generator=generator)
    given, target = repeat_copy(paths.float(), cuts, round(steps * 50 / 256))
    return {"x": given, "target": target}
