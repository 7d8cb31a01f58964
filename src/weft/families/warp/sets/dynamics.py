"""Sequences of dynamical systems: mass-spring-damper, Lotka-Volterra, sines, Lorenz-63."""

# N sequences, T steps; all generators compute in float64

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weft.data.random import derive
from weft.data.source import Batch
from weft.families.warp.config import Config
from weft.families.warp.sets.source import Header, Parts, extremes, identity
from weft.families.warp.sets.taylor import integrate, product

Ranges = Mapping[str, tuple[float, float]]

SINE_SIZES = {"tiny": 1, "small": 10, "medium": 100, "large": 1_000, "huge": 10_000}

_STEPS = {"sine": 16, "lorenz": 1_000, "msd": 256, "msd-zero": 256, "msd-2": 256, "lotka": 256}
# MSD-Zero has no published generator: ours is msd-2, whose starts are random.
_SIZES = {
    "msd": {"train": 20_480, "test": 4_096},
    "msd-zero": {"train": 8_192, "test": 2_048},
    "msd-2": {"train": 8_192, "test": 2_048},
    "lotka": {"train": 15_000, "test": 3_000},
    "lorenz": {"train": 48, "test": 16},
}
# Test sets range wider than training sets: the systems tested are partly unlike all seen.
_SPRINGS: Mapping[str, Ranges] = {
    "train": {"m": (0.02, 0.04), "k": (4, 16), "c": (0.01, 0.2)},
    "test": {"m": (0.01, 0.05), "k": (2, 18), "c": (0.01, 0.3)},
}
_PREY: Mapping[str, Ranges] = {
    "train": {"a": (20, 50), "b": (80, 120), "c": (80, 120), "d": (20, 50)},
    "test": {"a": (10, 60), "b": (70, 130), "c": (70, 130), "d": (10, 60)},
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
    """e^{Et} of E = [[0, 1], [-k/m, -c/m]], (2, 2, N), whether it swings or creeps.

    With g = c/2m and w^2 = k/m - g^2 of either sign, it is
    e^{-gt} (cos(wt) I + sin(wt)/w (E + g I)).
    """
    stiffness, damping = k / m, c / (2 * m)
    square = stiffness - damping.square()
    angle = square.abs().sqrt() * time
    swings = square >= 0
    # sinh(z)/z below 1e-4 by its series; sinc covers the swinging side down to zero.
    large = angle.clamp(min=1e-4)
    creeping = torch.where(angle < 1e-4, 1 + angle.square() / 6, large.sinh() / large)
    even = torch.where(swings, angle.cos(), angle.cosh())
    odd = time * torch.where(swings, torch.sinc(angle / torch.pi), creeping)
    rows = ((even + damping * odd, odd), (-stiffness * odd, even - damping * odd))
    return torch.exp(-damping * time) * torch.stack([torch.stack(row) for row in rows])


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

    # Rates reach some 400 per unit of time: 510 inner steps of order 12 leave errors near 2e-10.
    inner = -(-510 // (steps - 1))
    return integrate(rate, start, 1 / (steps - 1), steps, order=12, substeps=inner)


def lorenz63(start: Tensor, step: float, steps: int, *, order: int = 12) -> Tensor:
    """Lorenz' system with sigma 10, rho 28, beta 8/3, sampled every `step`.

    Args:
        start: float64 (N, 3).
        step: time between samples; order 12 errs by some 1e-13 in a step of 0.01.
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


def repeat_copy(paths: Tensor, cuts: Tensor, gap: int) -> tuple[Tensor, Tensor]:
    """The first steps of each path as input, and their endless repetition as target.

    Args:
        paths: (N, T, d).
        cuts: n, how many steps are shown and then repeated, int64 (N,).
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
    """What the system named by the config gives."""
    name, data = config.data.dataset, config.data
    if name == "sine":
        size = SINE_SIZES[data.subset or "huge"]
        sizes = {"train": size, "val": 1_000, "test": 1_000}
    else:
        sizes = dict(_SIZES[name])
    sizes["train"] = data.train_size or sizes["train"]
    sizes["test"] = data.test_size or sizes["test"]
    channels = {"sine": 1, "lorenz": 3}.get(name, 2)
    return Header(
        steps=data.sequence_length or _STEPS[name],
        channels=channels,
        sizes=sizes,
        outputs=channels if name == "lotka" else None,
        context=1 if name == "sine" else None,
    )


def load(config: Config) -> Parts:
    """Makes the sequences: a function of (data.seed, split) and their number and length alone."""
    name, about = config.data.dataset, header(config)
    make = {"sine": _sines, "lorenz": _lorenz, "lotka": _repeats}.get(name, _springs)
    made = {
        split: make(name, split, size, about.steps, _stream(config, split))
        for split, size in about.sizes.items()
    }
    scaled = config.data.normalize or name == "lotka"
    fit = extremes(positive=config.unit_normalise) if scaled else identity
    return Parts(made["train"], made["test"], made.get("val"), fit)


def _stream(config: Config, split: str) -> torch.Generator:
    # One stream for msd-zero and msd-2, which are one set.
    name = config.data.dataset.partition("-")[0]
    return torch.Generator().manual_seed(derive(config.data.seed, name, split))


def _uniform(ranges: Ranges, size: int, generator: torch.Generator) -> Tensor:
    """One row of draws for each range, float64 (len(ranges), size)."""
    draws = torch.rand(size, len(ranges), generator=generator, dtype=torch.float64).T
    bounds = torch.tensor(list(ranges.values()), dtype=torch.float64)
    low, high = bounds[:, :1], bounds[:, 1:]
    return low + (high - low) * draws


def _springs(name: str, split: str, size: int, steps: int, generator: torch.Generator) -> Batch:
    m, k, c = _uniform(_SPRINGS[split], size, generator)
    start = torch.tensor((1.0, 0.0), dtype=torch.float64).expand(size, 2)
    if name != "msd":
        start = start + torch.rand(size, 2, generator=generator, dtype=torch.float64) - 0.5
    return {"x": mass_spring(m, k, c, start, steps).float().contiguous()}


def _repeats(name: str, split: str, size: int, steps: int, generator: torch.Generator) -> Batch:
    rates = _uniform(_PREY[split], size, generator)
    paths = lotka_volterra(rates, torch.ones(size, 2, dtype=torch.float64), steps)
    # Cuts of 32..63 and gaps of 50 in the 256 steps of the original, in proportion elsewhere.
    low = max(1, steps // 8)
    cuts = torch.randint(low, max(low + 1, steps // 4), (size,), generator=generator)
    given, target = repeat_copy(paths.float(), cuts, round(steps * 50 / 256))
    return {"x": given, "target": target}


def _sines(name: str, split: str, size: int, steps: int, generator: torch.Generator) -> Batch:
    # All are drawn and the first kept, so that smaller training sets lie within larger ones.
    draws = torch.rand(max(size, SINE_SIZES["huge"]), generator=generator, dtype=torch.float64)
    phases = (draws[:size, None, None] - 0.5) * torch.pi / 3
    times = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    return {"x": torch.sin(2 * torch.pi * times + phases).float()}


def _lorenz(name: str, split: str, size: int, steps: int, generator: torch.Generator) -> Batch:
    start = torch.randn(size, 3, generator=generator, dtype=torch.float64) * 5
    start[:, 2] += 25
    # Five units of time, roughly, bring every start onto the attractor.
    settled = lorenz63(start, 0.025, 201, order=6)[:, -1]
    return {"x": lorenz63(settled, 0.01, steps).float().contiguous()}
