"""F3: computes the weights of every step from the history of drives, without a state of size D.

theta_t = Z_t + sum_{s <= t} K_{t-s} dx_s. The kernel does not depend on the data, so that this also
works if predictions are fed back. The backward pass computes theta_t again from dx, which is D / d
times smaller.
"""

# N batch, T steps, d data channels, D weights, G starts, o raw outputs

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from weft.families.warp.forms.adjoint import Adjoint, Course, Track
from weft.nn.dense import product
from weft.nn.once import once

ROWS = 1024
"""Rows (steps times sequences) that one product for the gradient of the kernel sums over."""
LAGS = 16
"""Numbers of lags in products are multiples of this, as oneDNN compiles a kernel per shape."""


class Bound(Exception):
    """Raised if the clip changes a weight, which is then no longer a linear function of drives."""


def run_history(
    course: Course,
    kernel: Tensor,
    path: Tensor,
    group: Tensor | None,
    known: Tensor,
    opening: Tensor,
    outputs: int,
    limit: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Raw outputs of all steps, (T, N, o), and the weights after the last one, (N, D).

    Args:
        course: the run's inputs, without padding.
        kernel: K of `response`, (T, d, D).
        path: Z, (T, G, D).
        group: number of each sequence's start, (N,); None if G is 1.
        known: the part of dx without predictions, (T, N, d).
        opening: the first two predictions, (2, N, d), see `Track`.
        outputs: o.
        limit: of a clip that must not change any weight; None: no clip.
    Raises:
        Bound: at the first step at which the clip would change a weight.
    """
    # Reversed, so that the lags t, ..., 0 are adjacent rows.
    rows = F.pad(kernel.flip(0), (0, 0, 0, 0, -len(kernel) % LAGS, 0)).flatten(0, 1)
    given = (rows, path, known, opening, *course.head.parameters())
    keeps = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    raw, theta = _History.apply(course, group, outputs, keeps, limit, *given)
    return raw, theta


class _History(Function):
    @staticmethod
    def forward(
        ctx: Any,
        course: Course,
        group: Tensor | None,
        outputs: int,
        keeps: bool,
        limit: float | None,
        kernel: Tensor,
        path: Tensor,
        known: Tensor,
        opening: Tensor,
        *head: Tensor,
    ) -> tuple[Tensor, Tensor]:
        track = Track(course, known, opening, outputs, keeps)
        steps, count, channels = known.shape
        before = len(kernel) // channels
        moves = known.new_zeros(before + steps, channels, count)
        for t in range(steps):
            track.difference(t, moves[before + t].mT)
            theta = _weights(kernel, path, group, moves, t)
            if limit is not None and not theta.abs().max() <= limit:
                raise Bound
            track.read(t, course.decoder.parts(theta))
        ctx.track, ctx.group = track, group
        ctx.save_for_backward(kernel, path, moves)
        # The returned tensors must not be those that the backward pass keeps.
        return track.raw.clone(), theta

    @staticmethod
    @once
    def backward(ctx: Any, error: Tensor, last: Tensor) -> tuple[Tensor | None, ...]:
        kernel, path, moves = ctx.saved_tensors
        group, adjoint = ctx.group, Adjoint(ctx.track, error)
        steps, (_, channels, count) = len(path), moves.shape
        pulls = torch.zeros_like(moves)  # gradient by dx
        grad_kernel, grad_path = torch.zeros_like(kernel), torch.zeros_like(path)
        parts = ctx.track.course.decoder.parts
        span = min(steps, max(1, ROWS // count))
        grads = kernel.new_empty(span, count, kernel.shape[1])  # by theta, of some steps
        for stop in range(steps, 0, -span):
            start = max(0, stop - span)
            for t in range(stop - 1, start - 1, -1):
                theta, grad = _weights(kernel, path, group, moves, t), grads[t - start]
                adjoint.weights(t, parts(theta), out=parts(grad))
                if t == steps - 1:
                    grad += last
                if group is None:
                    grad_path[t, 0] = grad.sum(0)
                else:
                    grad_path[t].index_add_(0, group, grad)
                pull = _window(pulls, steps, t)
                pull += product(_lags(kernel, channels, t), grad).view_as(pull)
                adjoint.difference(t, pull[-1].mT)
            shifted = _shifted(moves, steps, start, stop)
            part = product(shifted, grads[: stop - start].flatten(0, 1).mT)
            grad_kernel[len(kernel) - len(part) :] += part
        return (
            None, None, None, None, None,
            grad_kernel, grad_path, adjoint.known, adjoint.opening, *adjoint.head(),
        )  # fmt: skip


def mean_lags(steps: int) -> int:
    """Mean number of lags in the product of a step, over T = `steps` steps."""
    return round(sum(_rounded(t + 1) for t in range(steps)) / steps)


def _rounded(lags: int) -> int:
    """The next multiple of `LAGS`."""
    return lags + -lags % LAGS


def _lags(kernel: Tensor, channels: int, t: int) -> Tensor:
    """The rows of the lags t, ..., 0, and those before them that rounding adds."""
    return kernel[len(kernel) - _rounded(t + 1) * channels :]


def _window(moves: Tensor, steps: int, t: int) -> Tensor:
    """The drives for the rows of `_lags`.

    Args:
        moves: (T' + T, d, N).
        steps: T.
        t: the last step.
    Returns: (lags, d, N).
    """
    stop = len(moves) - steps + t + 1
    return moves[stop - _rounded(t + 1) : stop]


def _weights(kernel: Tensor, path: Tensor, group: Tensor | None, moves: Tensor, t: int) -> Tensor:
    """theta_t, (N, D), from the drives up to step t; before the first one they are zero."""
    _, channels, _ = moves.shape
    drives = _window(moves, len(path), t).flatten(0, 1)
    start = path[t] if group is None else path[t, group]
    return product(drives.mT, _lags(kernel, channels, t).mT).add_(start)


def _shifted(moves: Tensor, steps: int, start: int, stop: int) -> Tensor:
    """dx_{t-k} of the steps start <= t < stop at the lags k = stop - 1 (rounded up), ..., 0.

    Args:
        moves: zero before the first step, (T' + T, d, N).
        steps: T.
        start, stop: of t.
    Returns: (lags d, (stop - start) N), a copy.
    """
    _, channels, count = moves.shape
    row, lags = channels * count, _rounded(stop)
    first = len(moves) - steps + start - (lags - 1)
    shape = (lags, channels, stop - start, count)
    return moves.as_strided(shape, (row, count, row, 1), first * row).reshape(lags * channels, -1)
