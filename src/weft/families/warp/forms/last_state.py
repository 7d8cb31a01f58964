"""The last weights of a free run (M1) without a clip: forms F1 and F2, equal to the loop."""

# N batch, T steps, m drive channels, D weights, C = 2^c steps a chunk, J chunks

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.warp.forms.lag_kernel import kernel_of
from weft.families.warp.forms.recurrence import recur
from weft.families.warp.transition.base import Power, Transition, powers
from weft.nn.dense import linear


def by_lags(
    transition: Transition,
    B: Tensor,
    theta_0: Tensor,
    drive: Tensor,
    length: Tensor | None = None,
    doublings: int = 0,
) -> Tensor:
    """F1: theta_T = A^n theta_0 + sum_k (A^k B) u_{T-1-k} as one product with the lag kernel.

    The kernel costs 6 T D^2 (m + 1) operations with its gradient, whatever N.

    Args:
        transition: A.
        B: (D, m).
        theta_0: shared by all sequences, (D,).
        drive: u, (N, T, m), zero up to and with the first step of each sequence.
        length: n, steps of each right-aligned sequence, int64 (N,); None: T.
        doublings: see `lag_kernel`.
    Returns: (N, D).
    """
    steps, channels = drive.shape[1:]
    columns = torch.cat([B.mT, theta_0.unsqueeze(0)])
    kernel = kernel_of(transition, columns, steps + 1, doublings)
    # theta_0 is driven by a channel of its own that is 1 at lag n.
    lags = F.pad(drive.flip(1), (0, 1, 0, 1))
    if length is None:
        lags[:, steps, channels] = 1
    else:
        lags[torch.arange(len(lags), device=lags.device), length, channels] = 1
    return linear(lags.flatten(1), kernel.flatten(0, 1).mT)


def by_chunks(
    transition: Transition,
    B: Tensor,
    theta_0: Tensor,
    drive: Tensor,
    length: Tensor | None = None,
    doublings: int = 4,
) -> Tensor:
    """F2: C = 2^c steps at once, s_j = A^C s_{j-1} + [B .. A^{C-1} B] u_chunk, T / C of them.

    A^C is made by c squarings, [B .. A^{C-1} B] by c doublings. A sequence of n = qC + r steps
    enters as A^r theta_0, by the binary digits of r, with q chunks left to go.

    Args:
        transition: A.
        B: (D, m).
        theta_0: (D,), or (N, D).
        drive: u, (N, T, m), zero up to and with the first step of each sequence.
        length: n, steps of each right-aligned sequence, int64 (N,); None: T.
        doublings: c.
    Returns: (N, D).
    """
    batch, steps, _ = drive.shape
    size = 2**doublings
    chunks = -(-steps // size)
    ladder = powers(transition, doublings)
    kernel = B.mT
    for power in ladder[:-1]:
        kernel = torch.cat([kernel, power(kernel)])  # Row k m + c: lag k of channel c.
    padded = F.pad(drive, (0, 0, chunks * size - steps, 0))
    lags = padded.unflatten(1, (chunks, size)).flip(2).transpose(0, 1).flatten(2)
    moved = linear(lags.flatten(0, 1), kernel.mT).unflatten(0, (chunks, batch))
    late = steps if length is None else length
    entry = _enter(ladder, theta_0, late % size, batch)
    if length is None and steps % size == 0:
        return recur(ladder[-1], entry, moved)[-1]
    rows = torch.arange(batch, device=drive.device)
    whole = late // size  # Not copied to a device, which a recorded step may not do.
    place = chunks - (whole if isinstance(whole, Tensor) else torch.full_like(rows, whole))
    moved = F.pad(moved, (0, 0, 0, 0, 1, 0))
    moved = moved.index_put((place, rows), entry, accumulate=True)
    return recur(ladder[-1], moved[0], moved[1:])[-1]


def _enter(ladder: list[Power], theta_0: Tensor, remainder: Tensor | int, batch: int) -> Tensor:
    """A^r theta_0 by the binary digits of r (one for all, or one a sequence), (N, D)."""
    entry = theta_0 if theta_0.dim() == 2 else theta_0.unsqueeze(0)
    for i, power in enumerate(ladder[:-1]):
        if isinstance(remainder, int):
            entry = power(entry) if remainder >> i & 1 else entry
        else:
            entry = torch.where((remainder >> i & 1).bool().unsqueeze(1), power(entry), entry)
    return entry.expand(batch, -1)
