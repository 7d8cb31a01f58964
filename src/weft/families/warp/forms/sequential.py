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
from weft.families.warp.forms.passing import next_above, within
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

    What the clip gets is kept instead of what it gives: one number tells both the weight and
    whether the clip held it back, which no gradient passes.

    Args:
        motion: the recurrence.
        rows: its products.
        length: L, largest number of steps.
        like: (N, D).
        drives: m, columns of B.
    Attributes:
        moved: [vector that A multiplies, drive, zeros] before each step and after the last,
            (L + 1, N, P).
        drives: the drive of the step after each place, (L + 1, N, m), a part of `moved`.
        theta: the weights before each step and after the last, L + 1 of (N, D).
        free: the weights of each step before the clip, L of (N, D).
        speeds: the velocities after each step if the rule is of second order, L of (N, D).
    """

    def __init__(self, motion: Motion, rows: Rows, length: int, like: Tensor, drives: int) -> None:
        count, size = like.shape
        self.motion, self.rows = motion, rows
        if motion.limit is not None:
            self._beyond = next_above(motion.limit, like.dtype)
        self.moved = like.new_zeros(length + 1, count, rows.width)
        self.drives = self.moved[..., size : size + drives]
        vectors = self.moved[..., :size]
        weights = like.new_empty(vectors.shape) if motion.second_order else vectors
        # Views are made once, as to make them takes longer than what a step does with some.
        self._rows, self._vectors = self.moved.unbind(), vectors.unbind()
        self.theta = weights.unbind()
        self.free = [like] * length
        self.speeds = [like] * length if motion.second_order else []

    def step(self, i: int, t: int) -> None:
        """Computes step t, from place i to i + 1."""
        vector, theta = self._vectors[i], self.theta[i]
        free = self.rows.move(self._rows[i])[:, : theta.shape[1]]
        begun = None if self.motion.begun is None else self.motion.begun[t]
        if self.motion.second_order:
            self.speeds[i] = free if begun is None else torch.where(begun, free, vector)
            free = theta + free
        self.free[i] = free if begun is None else torch.where(begun, free, theta)
        self._settle(i + 1, t, *self.kept(i))

    def kept(self, i: int) -> tuple[Tensor, ...]:
        """What tells place i + 1: the weights before the clip, and the velocities if any."""
        return (self.free[i], *self.speeds[i : i + 1])

    def start(self, theta: Tensor, speed: Tensor | None = None) -> None:
        """Begins at place 0 with weights as they are, and velocities, zero if None."""
        self.theta[0].copy_(theta)
        if self.motion.second_order:
            self._vectors[0].copy_(torch.zeros_like(theta) if speed is None else speed)

    def first(self) -> tuple[Tensor, ...]:
        """A copy of what `start` takes."""
        theta = self.theta[0].clone()
        return (theta, self._vectors[0].clone()) if self.motion.second_order else (theta,)

    def go_on(self) -> None:
        """Begins where the last block ended."""
        self.start(self.theta[-1].clone(), self._vectors[-1])

    def restore(self, i: int, t: int, kept: tuple[Tensor, ...]) -> None:
        """Fills place i as step t did, of which `kept` is what it left."""
        if i > 0:
            self.free[i - 1] = kept[0]
        self._settle(i, t, *kept)

    def held(self, i: int, error: Tensor, out: Tensor) -> None:
        """Writes to `out` the gradient (N, D) by the weights of step i before the clip."""
        limit = self.motion.limit
        if limit is None:
            out.copy_(error)
            return
        within(self.free[i], self._beyond, error, out)
        if self.motion.halves:
            out.mul_(1 - 0.5 * (self.free[i].abs() == limit).to(out.dtype))

    def _settle(self, i: int, t: int, free: Tensor, speed: Tensor | None = None) -> None:
        """Fills place i, after step t."""
        limit, begun, after = self.motion.limit, self.motion.begun, self.theta[i]
        if limit is None:
            after.copy_(free)
        else:
            torch.clamp(free, -limit, limit, out=after)
            if begun is not None:  # theta_0 may lie beyond the limit
                torch.where(begun[t], after, free, out=after)
        if speed is not None:
            self._vectors[i].copy_(speed)


def span(steps: int, count: int, *, again: bool) -> int:
    """Number of steps in a block: enough rows for a product; at least sqrt(T) if only the first
    step of each is stored."""
    return min(steps, max(1, ROWS // count, math.isqrt(steps) if again else 1))


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
        again = keeps and kept_every(motion, steps, theta_0) > 1
        length = span(steps, count, again=again)
        block = Block(motion, motion.rows(B), length, theta_0, B.shape[1])
        block.start(theta_0)
        differences = block.drives[..., :channels].unbind()
        weights = [course.decoder.parts(theta) for theta in block.theta]
        kept: list[tuple[Tensor, ...]] = []  # of all steps, or of those where a block starts
        for start in range(0, steps, length):
            stop = min(start + length, steps)
            block.drives[: stop - start] = drives[start:stop]
            if start > 0:
                block.go_on()
            if again:
                kept.append(block.first())
            for t in range(start, stop):
                i = t - start
                track.difference(t, differences[i])
                block.step(i, t)
                track.read(t, weights[i + 1])
                if keeps and not again:
                    kept.append(block.kept(i))
            drives[start:stop] = block.drives[: stop - start]
        ctx.track, ctx.motion, ctx.again = track, motion, again
        ctx.kept, ctx.block, ctx.length = kept, block, length
        ctx.save_for_backward(B, theta_0, drives, *parameters)
        # The returned tensors must not be those that the backward pass keeps.
        return track.raw.clone(), block.theta[i + 1].clone()

    @staticmethod
    @once
    def backward(ctx: Any, error: Tensor, last: Tensor) -> tuple[Tensor | None, ...]:
        B, theta_0, drives, *_ = ctx.saved_tensors
        motion: Motion = ctx.motion
        block: Block = ctx.block
        adjoint, rows = Adjoint(ctx.track, error), block.rows
        steps, count, _ = drives.shape
        size, channels = len(B), adjoint.known.shape[-1]
        grads: tuple[Tensor, ...] = ()
        by_theta, by_velocity = last.clone(), None  # gradients by what step t leaves
        # Gradients by A x + B u, with zeros in the columns of the drive.
        pushed = B.new_zeros(ctx.length, count, rows.width)
        pushes = [(row, row[:, :size]) for row in pushed]
        parts = ctx.track.course.decoder.parts
        weights = [parts(theta) for theta in block.theta]
        for start in range((steps - 1) // ctx.length * ctx.length, -1, -ctx.length):
            stop = min(start + ctx.length, steps)
            block.drives[: stop - start] = drives[start:stop]
            if ctx.again:
                block.start(*ctx.kept[start // ctx.length])
                for t in range(start, stop):
                    block.step(t - start, t)
            elif start == 0:
                block.start(theta_0)
            else:
                block.restore(0, start - 1, ctx.kept[start - 1])
            for t in range(stop - 1, start - 1, -1):
                i = t - start
                row, push = pushes[i]
                if not ctx.again:  # just before it is read, as it is in the cache then
                    block.restore(i + 1, t, ctx.kept[t])
                adjoint.weights(t, weights[i + 1], parts(by_theta), adds=True)
                block.held(i, by_theta, out=push)
                held = push.clone() if motion.second_order else push
                if by_velocity is not None:
                    push += by_velocity
                if motion.begun is not None:
                    push *= motion.begun[t]
                by_next, by_drive = rows.back(row).split_with_sizes([size, rows.width - size], 1)
                adjoint.difference(t, by_drive[:, :channels])
                if motion.second_order:
                    by_velocity, by_next = by_next, held
                if motion.begun is not None:
                    by_next = torch.where(motion.begun[t], by_next, by_theta)
                by_theta = by_next
            errors, moved = (each[: stop - start].flatten(0, 1) for each in (pushed, block.moved))
            grads = _sum(grads, rows.sums(errors, moved))
        grad_B, *grad_A = rows.gradients(grads)
        return (
            None, None, None, None, None,
            grad_B, by_theta, adjoint.known, adjoint.opening, *grad_A, *adjoint.head(),
        )  # fmt: skip


def kept_every(motion: Motion, steps: int, theta_0: Tensor) -> int:
    """The distance in steps of stored states: 1 if all of them fit into `STORED` bytes."""
    weight = theta_0.element_size() * (1 + motion.second_order)
    if steps * theta_0.numel() * weight <= STORED:
        return 1
    return span(steps, len(theta_0), again=True)


def _sum(totals: tuple[Tensor, ...], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The totals with the parts added in place; the parts themselves if there are no totals."""
    if not totals:
        return parts
    return tuple(total.add_(part) for total, part in zip(totals, parts, strict=True))
