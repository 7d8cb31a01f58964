"""SIGReg: how far the codes are from an isotropic standard Gaussian, seen along random lines."""

# N codes, D entries of a code, L lines, F frequencies

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.errors import UsageError

HIGHEST = 3.0
"""Highest frequency compared; the weight exp(-w^2 / 2) is 0.01 there."""


def sigreg(z: Tensor, directions: Tensor, knots: int) -> Tensor:
    """Mean over lines of the Epps-Pulley statistic of the projected codes against N(0, 1).

    N * integral over w of |phi(w) - exp(-w^2 / 2)|^2 exp(-w^2 / 2), with phi the empirical
    characteristic function, by the trapezoidal rule on [-3, 3] (Balestriero & LeCun 2025). It is
    of order 1 for Gaussian codes and of order N for others.

    Args:
        z: (N, D).
        directions: columns of length 1, (D, L).
        knots: F, frequencies on [0, 3], two or more; the integrand is even.

    Raises:
        UsageError: if there are no codes, or anything is of another shape.
    """
    if z.dim() != 2 or not z.numel() or z.shape[-1] != directions.shape[0] or knots < 2:
        raise UsageError(
            f"codes of shape {tuple(z.shape)}, directions of {tuple(directions.shape)}, "
            f"{knots} frequencies",
            expected="(codes, entries), (entries, lines), and two or more",
        )
    frequency = torch.linspace(0, HIGHEST, knots, device=z.device, dtype=z.dtype)
    gauss = (-frequency.square() / 2).exp()
    step = HIGHEST / (knots - 1)
    weight = torch.full_like(frequency, 2 * step)
    weight[[0, -1]] = step
    angle = (z @ directions)[..., None] * frequency
    error = (angle.cos().mean(0) - gauss).square() + angle.sin().mean(0).square()
    return len(z) * (error @ (weight * gauss)).mean()


def random_directions(z: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` directions drawn evenly from the sphere that codes z (…, D) point at, (D, count)."""
    draws = torch.randn(z.shape[-1], count, generator=generator, device=z.device, dtype=z.dtype)
    return F.normalize(draws, dim=0)
