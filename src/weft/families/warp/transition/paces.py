"""A start of A with memory: modes with a range of time constants and phases.

With A = I and differences as the drive, the sum telescopes to theta_L = theta_0 + B (x_L - x_0),
which depends on the last datum only. Modes that decay and rotate at different rates represent the
whole sequence.
"""

# P pairs of weights, D weights

from __future__ import annotations

import math

import torch
from torch import Tensor

SHORTEST = 2.0
"""Steps of the fastest time constant."""
LONGEST = 3.0
"""The slowest time constant, in horizons."""


def paces(count: int, horizon: float) -> tuple[Tensor, Tensor]:
    """Time constants in steps, log-uniform in [2, 3 horizon], and phases, uniform in (0, pi).

    Args:
        count: P.
        horizon: number of steps to be remembered.
    Returns: (P,) each, from torch's default generator.
    """
    longest = max(LONGEST * horizon, 2 * SHORTEST)
    constants = SHORTEST * (longest / SHORTEST) ** torch.rand(count)
    return constants, math.pi * torch.rand(count)


def turning(size: int, horizon: float) -> Tensor:
    """A matrix (D, D) of which each pair of neighbours turns by its phase and shrinks by
    exp(-1 / time constant); of an odd D the last one shrinks alone.

    Args:
        size: D.
        horizon: steps that are to be remembered.
    """
    constants, phases = paces(-(-size // 2), horizon)
    if size % 2:
        phases[-1] = 0
    cos, sin = phases.cos(), phases.sin()
    rows = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    rotations = torch.exp(-1 / constants)[:, None, None] * rows
    return torch.block_diag(*rotations)[:size, :size]
