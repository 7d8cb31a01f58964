"""F4: the weights step by step, with one product for the gradients of A and B over many steps."""

# N batch, T steps, d data channels, r clock channels, D weights, o raw outputs

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from weft.families.warp.forms.adjoint import Adjoint, Course, Track
from weft.families.warp.transition.base import Transition

ROWS = 2048
"""Rows (steps times sequences) that one product for the gradients of A and B sums over."""
STORED = 2**28
"""Bytes of weights that are stored; beyond, those of a block's first step are, and the rest of the
block is computed again in the backward pass."""


@dataclass(frozen=True)
class Motion:
    """How the weights move.

    Attributes:
        transition: A.
        limit: of the clip; None for none.
        second_order: see `Rule`.
        begun: whether a step moves the weights at all, (T, N, 1); None if all do.
    """

    transition: Transition
    limit: float | None
    second_order: bool
    begun: Tensor | None

    def step(self, state: State, B: Tensor, drive: Tensor, t: int) -> State:
        """The state after step t, driven by `drive` (N, d + r)."""
        A, moved, begun = self.transition, state.moved, self.begun
        velocity = A.carry(moved).addmm_(drive, B.mT)
        free = state.theta + velocity if self.second_order else velocity
        inside = None if self.limit is None else free.abs() <= self.limit
        theta = free if self.limit is None else free.clamp(-self.limit, self.limit)
        if begun is not None:
            theta = torch.where(begun[t], theta, state.theta)
            velocity = torch.where(begun[t], velocity, moved)
            inside = None if inside is None else inside | ~begun[t]
        return State(theta, velocity if self.second_order else None, inside)


class State(NamedTuple):
    """What a step leaves.

    Attributes:
        theta: (N, D).
        velocity: v of a second-order rule, (N, D), else None.
        inside: where the clip let the weights pass, bool (N, D); None without a clip.
    """

    theta: Tensor
    velocity: Tensor | None
    inside: Tensor | None = None

    @property
    def moved(self) -> Tensor:
        """What A acts on in the next step."""
        return self.theta if self.velocity is None else self.velocity


def span(steps: int, count: int) -> int:
    """Steps of a block: enough rows for a product, and at least sqrt(T)."""
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
        course: what is given.
        motion: what moves the weights.
        B: (D, d + r).
        theta_0: (N, D).
        known: the part of dx that is no prediction, (T, N, d).
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
        every = kept_every(motion, steps, theta_0)
        state = State(theta_0, torch.zeros_like(theta_0) if motion.second_order else None)
        kept = []
        for t in range(steps):
            if keeps and t % every == 0:
                kept.append(state)
            track.difference(t, drives[t, :, :channels])
            state = motion.step(state, B, drives[t], t)
            track.read(t, state.theta)
        ctx.track, ctx.motion, ctx.every, ctx.kept = track, motion, every, [*kept, state]
        ctx.save_for_backward(B, drives, *parameters)
        # What autograd hands out must not be what the backward pass keeps.
        return track.raw.clone(), state.theta.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor, last: Tensor) -> tuple[Tensor | None, ...]:
        B, drives, *_ = ctx.saved_tensors
        motion: Motion = ctx.motion
        adjoint, A = Adjoint(ctx.track, error), motion.transition
        steps, count, _ = drives.shape
        channels, length = adjoint.known.shape[-1], span(steps, count)
        grad_B = torch.zeros_like(B)
        grad_A = [torch.zeros_like(parameter) for parameter in A.parameters()]
        by_theta, by_velocity = last.clone(), None  # gradients by what step t leaves
        decoded = torch.empty_like(by_theta)
        pushed = B.new_empty(length, *by_theta.shape)  # gradient by what B and A add up to
        stop = steps
        while stop > 0:
            start = (stop - 1) // length * length
            states = _states(ctx, B, drives, start, stop)
            for t in range(stop - 1, start - 1, -1):
                state, push = states[t - start + 1], pushed[t - start]
                adjoint.weights(t, state.theta, out=decoded)
                by_theta += decoded
                if state.inside is not None:
                    by_theta *= state.inside
                push.copy_(by_theta)
                if by_velocity is not None:
                    push += by_velocity
                if motion.begun is not None:
                    push *= motion.begun[t]
                adjoint.difference(t, push @ B[:, :channels])
                back = A.transpose(push)
                if motion.second_order:
                    by_velocity = back
                elif motion.begun is None:
                    by_theta = back
                else:
                    by_theta = torch.where(motion.begun[t], back, by_theta)
            errors = pushed[: stop - start].flatten(0, 1)
            moved = torch.cat([state.moved for state in states[:-1]])
            grad_B.addmm_(errors.mT, drives[start:stop].flatten(0, 1))
            for total, part in zip(grad_A, A.gradients(errors, moved), strict=True):
                total += part
            stop = start
        return (
            None, None, None, None, None,
            grad_B, by_theta, adjoint.known, adjoint.opening, *grad_A, *adjoint.head(),
        )  # fmt: skip


def kept_every(motion: Motion, steps: int, theta_0: Tensor) -> int:
    """Each how many steps the state is kept: 1 if all of them fit into `STORED` bytes."""
    weight = theta_0.element_size() * (1 + motion.second_order) + (motion.limit is not None)
    if steps * theta_0.numel() * weight <= STORED:
        return 1
    return span(steps, len(theta_0))


def _states(ctx: Any, B: Tensor, drives: Tensor, start: int, stop: int) -> list[State]:
    """The states before step `start` and after each step up to `stop`."""
    kept: list[State] = ctx.kept
    if ctx.every == 1:
        return kept[start : stop + 1]
    states = [kept[start // ctx.every]]
    for t in range(start, stop):
        states.append(ctx.motion.step(states[-1], B, drives[t], t))
    return states
