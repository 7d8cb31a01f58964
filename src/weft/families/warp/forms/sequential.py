"""F4: the weights step by step, with one product for the gradients of A and B over many steps."""

# N batch, T steps, d data channels, r clock channels, D weights, P width of a row, o raw outputs

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from weft.families.warp.forms.adjoint import Adjoint, Course, Track
from weft.families.warp.forms.marks import Marks, unless
from weft.families.warp.forms.side_by_side import Rows, rows_of
from weft.families.warp.transition.base import Transition
from weft.nn.once import once

ROWS = 1024
"""Rows (steps times sequences) that one product for the gradients of A and B sums over."""
STORED = 2**28
"""Largest number of bytes of stored weights. Beyond it only those of each block's first step are
stored, and the others are computed again in the backward pass."""


@dataclass(frozen=True)
class Motion:
    """The recurrence of the weights.

    Attributes:
        transition: A.
        limit: of the clip; None: no clip.
        second_order: see `Rule`.
        begun: whether a step changes the weights, (T, N, 1); None: all do.
        halves: whether half of the gradient passes if a weight is exactly at its bound.
        half: whether products with a full A are rounded to bfloat16.
    """

    transition: Transition
    limit: float | None
    second_order: bool
    begun: Tensor | None
    halves: bool = False
    half: bool = False

    def rows(self, B: Tensor) -> Rows:
        """The products of a step."""
        return rows_of(self.transition, B, half=self.half)


class Block:
    """The weights of consecutive steps, with the drive of the next step in the same rows.

    Args:
        motion: the recurrence.
        rows: its products.
        length: L, largest number of steps.
        like: (N, D).
        keeps: whether a backward pass will follow.
    Attributes:
        moved: [vector that A multiplies, drive, zeros] before each step and after the last,
            (L + 1, N, P).
        theta: the weights, (L + 1, N, D): a part of `moved`, unless the rule is of second order.
        places: both tensors, or `moved` alone if it contains the weights.
        outside: where the clip changed a weight after each step, or None.
        tied: where a weight is exactly at its bound, if half of the gradient passes there, or None.
    """

    def __init__(
        self, motion: Motion, rows: Rows, length: int, like: Tensor, *, keeps: bool
    ) -> None:
        count, size = like.shape
        self.motion, self.rows, self.size = motion, rows, size
        self.moved = like.new_zeros(length + 1, count, rows.width)
        self.theta = self.moved[..., :size]
        self.places = [self.moved]
        if motion.second_order:
            self.theta = like.new_empty(length + 1, count, size)
            self.places.append(self.theta)
        clips = keeps and motion.limit is not None
        self.outside = Marks(length, like) if clips else None
        self.tied = Marks(length, like) if clips and motion.halves else None

    def drive(self, i: int) -> Tensor:
        """The drive of the step after place i, (N, P - D), a view to be written to."""
        return self.moved[i, :, self.size :]

    def step(self, i: int, t: int) -> None:
        """Computes step t, from place i to i + 1."""
        motion, limit, size = self.motion, self.motion.limit, self.size
        before, after = self.theta[i], self.theta[i + 1]
        free = self.rows.move(self.moved[i])[:, :size]
        begun = None if motion.begun is None else motion.begun[t]
        if motion.second_order:
            velocity, was = self.moved[i + 1, :, :size], self.moved[i, :, :size]
            velocity.copy_(free if begun is None else torch.where(begun, free, was))
            free = before + free
        if limit is None:
            after.copy_(free)
        else:
            torch.clamp(free, -limit, limit, out=after)
            if self.outside is not None:
                # Equal to `free != after`, in a quarter of its time on a CPU.
                self.outside.write(i, (free - after).bool())
            if self.tied is not None:
                self.tied.write(i, free.abs() == limit)
        if begun is not None:
            torch.where(begun, after, before, out=after)

    def held(self, i: int, error: Tensor, out: Tensor) -> None:
        """Writes to `out` the gradient (N, D) by the weights of step i before the clip."""
        if self.outside is None:
            out.copy_(error)
        else:
            unless(self.outside.read(i, error.dtype), error, out)
        if self.tied is not None:
            out.mul_(1 - 0.5 * self.tied.read(i, error.dtype))


def span(steps: int, count: int) -> int:
    """Number of steps in a block: enough rows for a product, and at least sqrt(T)."""
    return min(steps, max(1, ROWS // count, math.isqrt(steps)))


def run_sequential(
    course: Course,
    motion: Motion,
    B: Tensor,
    theta_0: Tensor,
    known: Tensor,
    opening: Tensor,
    dclock: Tensor,
    outputs: int,
) -> tuple[Tensor, Tensor]:
    """Raw outputs of all steps, (T, N, o), and the weights after the last one, (N, D).

    Args:
        course: the run's inputs.
        motion: the recurrence.
        B: (D, d + r).
        theta_0: (N, D).
        known: the part of dx without predictions, (T, N, d).
        opening: the first two predictions, (2, N, d), see `Track`.
        dclock: (T, r), or (T, N, r).
        outputs: o.
    """
    parameters = (*motion.transition.parameters(), *course.head.parameters())
    given = (B, theta_0, known, opening, *parameters)
    keeps = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    raw, theta = _Sequential.apply(course, motion, dclock, outputs, keeps, *given)
    return raw, theta


class _Sequential(Function):
    @staticmethod
    def forward(
        ctx: Any,
        course: Course,
        motion: Motion,
        dclock: Tensor,
        outputs: int,
        keeps: bool,
        B: Tensor,
        theta_0: Tensor,
        known: Tensor,
        opening: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        track = Track(course, known, opening, outputs, keeps)
        steps, count, channels = known.shape
        drives = known.new_empty(steps, count, B.shape[1])
        drives[..., channels:] = dclock if dclock.dim() == 3 else dclock.unsqueeze(1)
        every = kept_every(motion, steps, theta_0) if keeps else span(steps, count)
        block = Block(motion, motion.rows(B), steps if every == 1 else every, theta_0, keeps=keeps)
        block.theta[0] = theta_0
        starts: list[list[Tensor]] = []  # of blocks that are computed again
        for t in range(steps):
            i = t if every == 1 else t % every
            if every > 1 and i == 0 and t > 0:
                for place in block.places:
                    place[0] = place[every]
            if every > 1 and i == 0 and keeps:
                starts.append([place[0].clone() for place in block.places])
            track.difference(t, drives[t, :, :channels])
            block.drive(i)[:, : B.shape[1]] = drives[t]
            block.step(i, t)
            track.read(t, block.theta[i + 1])
        ctx.track, ctx.motion, ctx.every = track, motion, every
        ctx.starts, ctx.block = starts, block
        ctx.save_for_backward(B, drives, *parameters)
        # The returned tensors must not be those that the backward pass keeps.
        return track.raw.clone(), block.theta[i + 1].clone()

    @staticmethod
    @once
    def backward(ctx: Any, error: Tensor, last: Tensor) -> tuple[Tensor | None, ...]:
        B, drives, *_ = ctx.saved_tensors
        motion: Motion = ctx.motion
        block: Block = ctx.block
        adjoint, rows = Adjoint(ctx.track, error), block.rows
        steps, count, _ = drives.shape
        size, channels = len(B), adjoint.known.shape[-1]
        length = min(steps, max(1, ROWS // count)) if ctx.every == 1 else ctx.every
        grads: tuple[Tensor, ...] = ()
        by_theta, by_velocity = last.clone(), None  # gradients by what step t leaves
        # Gradients by A x + B u, with zeros in the columns of the drive.
        pushed = B.new_zeros(length, count, rows.width)
        stop = steps
        while stop > 0:
            start = (stop - 1) // length * length
            offset = start if ctx.every == 1 else 0
            if ctx.every > 1:
                _again(block, ctx.starts[start // length], drives, start, stop)
            for t in range(stop - 1, start - 1, -1):
                i, row = t - start + offset, pushed[t - start]
                push = row[:, :size]
                adjoint.weights(t, block.theta[i + 1], by_theta, adds=True)
                block.held(i, by_theta, out=push)
                held = push.clone() if motion.second_order else push
                if by_velocity is not None:
                    push += by_velocity
                if motion.begun is not None:
                    push *= motion.begun[t]
                back = rows.back(row)
                adjoint.difference(t, back[:, size : size + channels])
                by_next = back[:, :size]
                if motion.second_order:
                    by_velocity, by_next = by_next, held
                if motion.begun is not None:
                    by_next = torch.where(motion.begun[t], by_next, by_theta)
                by_theta = by_next
            moved = block.moved[offset : offset + stop - start]
            errors = pushed[: stop - start]
            grads = _sum(grads, rows.gradients(errors.flatten(0, 1), moved.flatten(0, 1)))
            stop = start
        grad_B, *grad_A = grads
        return (
            None, None, None, None, None,
            grad_B, by_theta, adjoint.known, adjoint.opening, *grad_A, *adjoint.head(),
        )  # fmt: skip


def kept_every(motion: Motion, steps: int, theta_0: Tensor) -> int:
    """The distance in steps of stored states: 1 if all of them fit into `STORED` bytes."""
    weight = theta_0.element_size() * (1 + motion.second_order)
    if steps * theta_0.numel() * weight <= STORED:
        return 1
    return span(steps, len(theta_0))


def _sum(totals: tuple[Tensor, ...], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The totals with the parts added in place; the parts themselves if there are no totals."""
    if not totals:
        return parts
    return tuple(total.add_(part) for total, part in zip(totals, parts, strict=True))


def _again(block: Block, start: list[Tensor], drives: Tensor, first: int, stop: int) -> None:
    """Computes the steps from `first` up to `stop` once more."""
    for place, kept in zip(block.places, start, strict=True):
        place[0] = kept
    for t in range(first, stop):
        i = t - first
        block.drive(i)[:, : drives.shape[2]] = drives[t]
        block.step(i, t)
