"""A linear recurrence over rows of weights with one product for the gradient of its map."""

# J steps, N batch, D weights

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from weft.families.warp.forms.passing import unless
from weft.families.warp.transition.base import Power
from weft.nn.once import once


def recur(
    power: Power,
    start: Tensor,
    drive: Tensor,
    limit: float | None = None,
    valid: Tensor | None = None,
    *,
    halves: bool = False,
) -> Tensor:
    """All states s_j = clip(P s_{j-1} + w_j, -limit, limit), with s_{-1} = start.

    The gradient of P is one product over all steps and sequences; step by step it would be read and
    written J times.

    Args:
        power: P.
        start: (N, D).
        drive: w, (J, N, D), J >= 1.
        limit: None does not clip. The gradient is that of torch.clamp, which passes at the bound.
        halves: whether half of the gradient passes at the bound.
        valid: bool (J, N); s_j = s_{j-1} where it is False. None: valid everywhere.
    Returns: (J, N, D).
    """
    states: Tensor = _Recurrence.apply(
        type(power), limit, halves, valid, start, drive, *power.tensors
    )
    return states


class _Recurrence(Function):
    @staticmethod
    def forward(
        ctx: Any,
        shape: type[Power],
        limit: float | None,
        halves: bool,
        valid: Tensor | None,
        start: Tensor,
        drive: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        power, states, state = shape(*tensors), torch.empty_like(drive), start
        cut = None if limit is None else torch.empty_like(drive, dtype=torch.bool)
        tied = None if cut is None or not halves else torch.empty_like(cut)
        for j, w in enumerate(drive):
            following = torch.add(power(state), w, out=states[j])
            if cut is not None and limit is not None:
                torch.gt(following.abs(), limit, out=cut[j])
                if tied is not None:
                    torch.eq(following.abs(), limit, out=tied[j])
                following.clamp_(-limit, limit)
            if valid is not None:
                torch.where(valid[j, :, None], following, state, out=following)
            state = following
        ctx.shape = shape
        ctx.save_for_backward(start, states, valid, cut, tied, *tensors)
        return states

    @staticmethod
    @once
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, ...]:
        start, states, valid, cut, tied, *tensors = ctx.saved_tensors
        power: Power = ctx.shape(*tensors)
        total = errors.clone(memory_format=torch.contiguous_format)
        held = None if valid is None else ~valid[:, :, None]
        back = torch.zeros_like(start)
        for j in range(len(total) - 1, -1, -1):
            error = total[j].add_(back)
            kept = None
            if held is not None:
                kept = error * held[j]
                unless(held[j].to(error.dtype), error, out=error)
            if cut is not None:
                unless(cut[j].to(error.dtype), error, out=error)
            if tied is not None:
                error.mul_(1 - 0.5 * tied[j].to(error.dtype))
            back = power.transpose(error)
            if kept is not None:
                back += kept
        grads = power.gradients(total[0], start)
        if len(total) > 1:
            more = power.gradients(total[1:].flatten(0, 1), states[:-1].flatten(0, 1))
            grads = tuple(first + rest for first, rest in zip(grads, more, strict=True))
        return None, None, None, None, back, total, *grads
