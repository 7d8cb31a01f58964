"""F3 for a free run (M1): all weights from the history of drives, one product per chunk."""

# N batch, T steps, m drive channels, D weights, C steps a chunk, o outputs

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.warp.forms.lag_kernel import kernel_of
from weft.families.warp.forms.states import Reader, recomputed
from weft.families.warp.transition.base import Transition
from weft.nn.dense import linear


def by_history(
    transition: Transition,
    B: Tensor,
    theta_0: Tensor,
    drive: Tensor,
    reader: Reader,
    length: Tensor | None = None,
    *,
    second_order: bool = False,
    doublings: int = 0,
) -> tuple[Tensor, Tensor]:
    """theta_t = A^(t+1) theta_0 + sum_k (A^k B) u_(t-k): N D m T^2 operations instead of 2 N T D^2.

    A second-order rule is theta_0 plus this recurrence from zero, driven by cumulative sums of u.

    Args:
        transition: A.
        B: (D, m).
        theta_0: shared by all sequences, (D,); also (N, D) for a second-order rule.
        drive: u, (N, T, m), zero up to and with the first step of each sequence.
        reader: reads each step's weights.
        length: n, steps of each right-aligned sequence, int64 (N,); None: T.
        second_order: whether the weights have a velocity.
        doublings: see `lag_kernel`.
    Returns: outputs (N, T, o) and the last weights (N, D).
    """
    steps, channels = drive.shape[1:]
    if second_order:
        drive = drive.cumsum(1)
        kernel = kernel_of(transition, B.mT, steps, doublings).flatten(0, 1)
        starts = theta_0.expand(1, -1) if theta_0.dim() == 1 else theta_0
    else:
        columns = torch.cat([B.mT, theta_0.unsqueeze(0)])
        lags = kernel_of(transition, columns, steps + 1, doublings)
        kernel, starts = lags[:-1, :channels].flatten(0, 1), lags[:, channels]
    # In reversed order u_t, u_(t-1), ..., u_0, 0, ... is a slice of one sequence.
    backwards = F.pad(drive.flip(1), (0, 0, 0, reader.chunk))
    late = None if length is None else steps - length

    def part(
        begin: int, end: int, backwards: Tensor, kernel: Tensor, starts: Tensor, z: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = backwards[:, steps - end : steps + end - begin - 1].unfold(1, end, 1).flip(1)
        rows = rows.permute(1, 0, 3, 2).flatten(2)  # (C, N, lags m)
        states = linear(rows.flatten(0, 1), kernel[: end * channels].mT).unflatten(
            0, rows.shape[:2]
        )
        if second_order:
            begun = starts
        elif late is None:
            begun = starts[begin + 1 : end + 1].unsqueeze(1)
        else:
            times = torch.arange(begin + 1, end + 1, device=late.device)
            begun = starts[(times.unsqueeze(1) - late).clamp_min(0)]
        states = states + begun
        return reader.read(states, z), states[-1].clone()

    outs = []
    for begin in range(0, steps, reader.chunk):
        end = min(begin + reader.chunk, steps)
        out, theta = recomputed(part, begin, end, backwards, kernel, starts, reader.z[begin:end])
        outs.append(out)
    return torch.cat(outs).transpose(0, 1), theta
