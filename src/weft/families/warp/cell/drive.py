"""The drive of the weights: the data that are read, and in a free run their differences."""

# N batch, T steps, d data channels, r clock channels

from __future__ import annotations

import torch
from torch import Tensor


def valid_steps(length: Tensor | None, steps: int) -> Tensor | None:
    """Which steps are data and not front padding, bool (N, T); None if all of them are.

    Args:
        length: steps of each right-aligned sequence, int64 (N,), or None.
        steps: T.
    """
    if length is None:
        return None
    return torch.arange(steps, device=length.device) >= steps - length.unsqueeze(1)


def first_data(x: Tensor, length: Tensor | None) -> Tensor:
    """The first real datum of each sequence of x (N, T, d): (N, d); the last of an empty one."""
    if length is None:
        return x[:, 0]
    place = (x.shape[1] - length).clamp_max(x.shape[1] - 1)
    return x[torch.arange(x.shape[0], device=x.device), place]


def held_front(x: Tensor, length: Tensor | None) -> Tensor:
    """x (N, T, d) with its first real datum repeated through the front padding."""
    valid = valid_steps(length, x.shape[1])
    if valid is None:
        return x
    return torch.where(valid.unsqueeze(-1), x, first_data(x, length).unsqueeze(1))


def known_data(x: Tensor, share: Tensor) -> Tensor:
    """x with NaN replaced by 0 at steps where the truth is not fed; x_0 always is.

    Args:
        x: (N, T, d).
        share: of the truth in each step's input, (N, T).
    """
    unread = (share[:, 1:, None] == 0) & ~x[:, 1:].isfinite()
    return torch.cat([x[:, :1], x[:, 1:].masked_fill(unread, 0)], 1)


def free_drive(
    x: Tensor, dclock: Tensor, length: Tensor | None = None, before: Tensor | None = None
) -> Tensor:
    """[dx_t, dclock_t] of each step of a free run; zero up to and with the first real step.

    Args:
        x: (N, T, d), with its first real datum repeated through the front padding.
        dclock: (T, r), or (T, N, r).
        length: steps of each right-aligned sequence, int64 (N,), or None if all have T.
        before: the datum before x_0 in a run that continues a state, (N, d); None: x_0 itself.
    Returns: (N, T, d + r).
    """
    before = x[:, :1] if before is None else before.unsqueeze(1)
    dx = x - torch.cat([before, x[:, :-1]], 1)
    ticks = (
        dclock.transpose(0, 1) if dclock.dim() == 3 else dclock.expand(x.shape[0], *dclock.shape)
    )
    if length is not None:
        begun = valid_steps(length - 1, x.shape[1])
        assert begun is not None
        ticks = ticks * begun.unsqueeze(-1)
    return torch.cat([dx, ticks], -1)
