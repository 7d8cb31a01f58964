"""A free run (M1) step by step: its weights are read in chunks of time and not stored."""

# N batch, T steps, m drive channels, D weights, C steps a chunk, o outputs

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from weft.families.warp.forms.recurrence import recur
from weft.families.warp.transition.base import Transition
from weft.families.warp.transition.diag import DiagonalPower
from weft.nn.dense import linear


class Reader(NamedTuple):
    """How the weights of each step are read.

    Attributes:
        read: the root, (theta (C, N, D), z (C, N or 1, q)) -> (C, N, o).
        z: its inputs, time first, (T, N or 1, q).
        chunk: C, steps whose weights exist at the same time.
    """

    read: Callable[[Tensor, Tensor], Tensor]
    z: Tensor
    chunk: int


def step_by_step(
    transition: Transition,
    B: Tensor,
    theta_0: Tensor,
    drive: Tensor,
    reader: Reader | None,
    valid: Tensor | None = None,
    *,
    limit: float | None = None,
    halves: bool = False,
    second_order: bool = False,
    chunk: int = 32,
) -> tuple[Tensor | None, Tensor]:
    """Every step in turn, whatever the rule: 8 N T D^2 operations of a full A in all.

    Args:
        transition: A.
        B: (D, m).
        theta_0: (D,) or (N, D).
        drive: u, (N, T, m), zero up to and with the first step of each sequence.
        reader: reads each step's weights; None if the last ones are all that is wanted.
        valid: which steps are data, bool (N, T); weights do not change at others. None: all.
        limit: clip of the weights.
        halves: whether half the gradient passes at the bound itself.
        second_order: whether the weights have a velocity.
        chunk: steps whose weights exist at the same time where there is no reader.
    Returns: outputs (N, T, o), or None, and the last weights (N, D).
    """
    power = transition.power()
    still = DiagonalPower(torch.zeros_like(B[:, 0]))

    def part(
        theta: Tensor, velocity: Tensor, u: Tensor, going: Tensor | None, z: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        pushes = push(u, B)
        if second_order:
            velocities = recur(power, velocity, pushes)
            states = recur(still, theta, velocities, limit, going, halves=halves)
            velocity = velocities[-1].clone()
        else:
            states = recur(power, theta, pushes, limit, going, halves=halves)
        out = None if reader is None or z is None else reader.read(states, z)
        # A view instead of a clone would keep the weights of the whole chunk.
        return states[-1].clone(), velocity, out

    theta = theta_0.expand(drive.shape[0], -1)
    velocity = torch.zeros_like(theta)
    outs = []
    size = chunk if reader is None else reader.chunk
    for start in range(0, drive.shape[1], size):
        now = slice(start, start + size)
        u, z = drive[:, now].transpose(0, 1), None if reader is None else reader.z[now]
        going = None if valid is None else valid[:, now].mT
        theta, velocity, out = recomputed(part, theta, velocity, u, going, z)
        outs.append(out)
    return None if reader is None else torch.cat(outs).transpose(0, 1), theta


def push(u: Tensor, B: Tensor) -> Tensor:
    """B u of each step and sequence: (C, N, m) to (C, N, D)."""
    return linear(u.flatten(0, 1), B).unflatten(0, u.shape[:2])


def recomputed(part: Callable[..., Any], *args: object) -> Any:
    """`part(*args)`, whose inner tensors are computed again in the backward pass."""
    return checkpoint(part, *args, use_reentrant=False, preserve_rng_state=False)
