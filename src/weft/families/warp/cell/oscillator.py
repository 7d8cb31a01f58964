"""A root that finds the law of motion of two channels in sums that the recurrence keeps for it."""

# K memories, D = 2 + 4 K weights

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp.cell.formula import Dynamics, Law

MEMORIES = (1.0, 31 / 32, 7 / 8)
"""What is left of a datum after a step: the sums of all steps, of some 32 and of some 8."""
RIDGE = 1e-10
"""Bias towards no motion, as a share of the sums' squares; it decides what the data do not."""
FLOOR = 1e-12
"""The same in the data's unit squared, for a channel that has not moved at all."""


def oscillator() -> Law:
    """The next state of any system y_(t+1) = M y_t of two channels, whose M the data have to give.

    A linear recurrence cannot hold m, k and c, which are no linear function of the data, but it
    can hold sums that are. The weights are y and, for each memory a of `MEMORIES`,

        S_t = a (S_(t-1) + y_(t-1))               S_-1 = -y_0
        P_t = a (P_(t-1) + y_t - y_(t-1))         P_-1 = 0

    so that P = (M - I) S holds whatever M is, damped or not. S starts below zero by what the first
    step, which has no predecessor, would add. The columns of all memories make S and P 2 x K, and

        M = I + P S' (S S' + ridge)^-1      out = M y / max(1, spectral radius of M)

    The bound keeps what is fed back from running away. A, B and theta_0 start as what writes these
    sums: the root is exact but for rounding before it is trained. It needs true differences as
    the drive, foretells the next step, and reads no time: between steps it says the same.
    """
    count = len(MEMORIES)
    return Law(_next_state, 2 + 4 * count, 2, flops=32 * count + 60, dynamics=_dynamics)


def _dynamics() -> Dynamics:
    memory = torch.tensor(MEMORIES)
    one = torch.ones(1, 1)
    a, blank = memory[:, None], torch.zeros(len(MEMORIES), 1)
    kept, empty = torch.diag(memory), torch.zeros(len(MEMORIES), len(MEMORIES))
    # Rows and columns are y, S, P; each stands for both channels, which do not meet in the sums.
    transition = torch.cat([
        torch.cat([one, blank.mT, blank.mT], 1),
        torch.cat([a, kept, empty], 1),
        torch.cat([blank, empty, kept], 1),
    ])  # fmt: skip
    drive = torch.cat([one, blank, a])
    first = torch.cat([one, blank - 1, blank])
    both = torch.eye(2)
    return Dynamics(*(torch.kron(part, both) for part in (transition, drive, first)))


def _next_state(theta: Tensor, tau: Tensor, x: Tensor) -> Tensor:
    # In float64: sums of a few hundred steps leave little of fp32 in their near-singular products.
    count = len(MEMORIES)
    pairs = theta.double().view(*theta.shape[:-1], 1 + 2 * count, 2).mT
    y, S, P = pairs[..., 0], pairs[..., 1 : 1 + count], pairs[..., 1 + count :]
    square = S @ S.mT
    own = torch.diagonal(square, dim1=-2, dim2=-1)
    change = P @ S.mT @ _inverse(square + torch.diag_embed(RIDGE * own + FLOOR))
    moved = y + (change @ y.unsqueeze(-1)).squeeze(-1)
    out = moved / _radius(change).clamp_min(1).unsqueeze(-1)
    return out.to(theta.dtype) + torch.zeros_like(tau)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of positive definite matrices (..., 2, 2)."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c)[..., None, None]


def _radius(change: Tensor) -> Tensor:
    """Largest modulus of the eigenvalues of I + change (..., 2, 2)."""
    (a, b), (c, d) = (row.unbind(-1) for row in change.unbind(-2))
    middle, gap = 1 + (a + d) / 2, ((a - d) / 2).square() + b * c
    # Each root of a positive number alone: the slope of the branch not taken must be finite too.
    real = middle.abs() + gap.clamp_min(1e-12).sqrt()
    turning = (middle.square() - gap).clamp_min(1e-12).sqrt()
    return torch.where(gap > 0, real, turning)
