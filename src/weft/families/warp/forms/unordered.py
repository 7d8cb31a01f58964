"""Runs on the meta device, in a dry run: all steps at once, as no values depend on their order.

The shape analysis of T single steps takes longer than their arithmetic. The products here are those
of `run_history` and `run_sequential`, with the same number of operations; if the weights of all
steps are stored, they count twice.
"""

# N batch, T steps, d data channels, m drive channels, D weights, G starts, o raw outputs

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weft.families.warp.cell.root import Root
from weft.families.warp.forms.adjoint import Course
from weft.families.warp.forms.history import mean_lags
from weft.families.warp.forms.sequential import Motion, kept_every
from weft.families.warp.forms.states import recomputed


def history_at_once(
    course: Course, root: Root, kernel: Tensor, path: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Shapes and costs of `run_history`.

    Args:
        course: what is given.
        root: reads the weights.
        kernel: (T, d, D).
        path: (T, G, D).
        count: N.
    Returns: raw outputs (T, N, o) and the last weights (N, D).
    """
    steps, channels, size = kernel.shape
    inner = mean_lags(steps) * channels
    moves = _drives(kernel, steps * count, 1)

    def weights(moves: Tensor, kernel: Tensor, path: Tensor) -> Tensor:
        history, lags = moves.expand(-1, inner), kernel[0, :1].expand(inner, -1)
        return (history @ lags).view(steps, count, size) + path[:, :1]

    raw, theta = recomputed(_reader(course, root, weights, count), moves, kernel, path)
    return raw, theta


def steps_at_once(
    course: Course, root: Root, motion: Motion, B: Tensor, theta_0: Tensor
) -> tuple[Tensor, Tensor]:
    """Shapes and costs of `run_sequential`.

    Args:
        course: what is given.
        root: reads the weights.
        motion: what moves them.
        B: (D, m).
        theta_0: (N, D).
    Returns: raw outputs (T, N, o) and the last weights (N, D).
    """
    steps, (count, size) = course.steps, theta_0.shape
    drives = _drives(B, steps * count, B.shape[1])

    def weights(drives: Tensor, B: Tensor, theta_0: Tensor) -> Tensor:
        moved: Tensor = motion.transition(theta_0.repeat(steps, 1)) + drives @ B.mT
        return moved.view(steps, count, size)

    run = _reader(course, root, weights, count)
    again = kept_every(motion, steps, theta_0) > 1
    raw, theta = recomputed(run, drives, B, theta_0) if again else run(drives, B, theta_0)
    return raw, theta


def _drives(like: Tensor, rows: int, columns: int) -> Tensor:
    """Drives that depend on predictions, and so require a gradient if anything does."""
    return torch.empty(rows, columns, dtype=like.dtype, device=like.device,
                       requires_grad=torch.is_grad_enabled())  # fmt: skip


def _reader(
    course: Course, root: Root, weights: Callable[..., Tensor], count: int
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Reads what `weights` makes of its arguments at every step."""

    def run(drives: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        theta = weights(drives, *given)
        z = course.tau.unsqueeze(1).expand(-1, count, -1)
        if course.sees_data:
            seen = drives[:, :1].view(*theta.shape[:2], 1).expand(-1, -1, course.head.channels)
            z = torch.cat([z, seen], -1)
        return root(theta, z), theta[-1]

    return run
