"""F5 for a free run (M1) with a structured A: all weights, many steps at once.

The recurrence is that of delta_t = theta_t - theta_0 = A delta_(t-1) + B u_t + E theta_0, which
starts at zero and stays there in the front padding. A second-order rule has delta_t = A delta_(t-1)
+ B (u_0 + ... + u_t).
"""

# N batch, T steps, m drive channels, D weights, C steps a chunk, o outputs, r rank

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp.forms.recurrence import recur
from weft.families.warp.forms.states import Reader, push, recomputed
from weft.families.warp.transition.base import Transition, powers
from weft.families.warp.transition.full import FullPower


def by_doubling(
    transition: Transition,
    B: Tensor,
    theta_0: Tensor,
    drive: Tensor,
    reader: Reader,
    valid: Tensor | None = None,
    *,
    second_order: bool = False,
) -> tuple[Tensor, Tensor]:
    """Adds A^s times the weights of s steps before, s = 1, 2, 4, ...: log2 C passes over a chunk.

    This takes more arithmetic than single steps, but log2 C calls instead of C, which is faster for
    small batches and on GPUs.

    Args:
        transition: A; diagonal or of blocks, whose powers are cheap.
        B: (D, m).
        theta_0: (D,) or (N, D).
        drive: u, (N, T, m), zero up to and with the first step of each sequence.
        reader: reads each step's weights.
        valid: which steps are data, bool (N, T); weights do not change at others. None: all.
        second_order: whether the weights have a velocity.
    Returns: outputs (N, T, o) and the last weights (N, D).
    """
    batch, steps, _ = drive.shape
    ladder = powers(transition, max(0, (min(reader.chunk, steps) - 1).bit_length() - 1))
    pull = None if second_order else ladder[0].change(theta_0)
    drive = drive.cumsum(1) if second_order else drive

    def part(delta: Tensor, u: Tensor, going: Tensor | None, z: Tensor) -> tuple[Tensor, Tensor]:
        states = push(u, B)
        if pull is not None:
            states = states + (pull if going is None else going.unsqueeze(-1) * pull)
        first = states[:1] + ladder[0](delta)
        states = torch.cat([first, states[1:]])
        for level, power in enumerate(ladder):
            shift = 2**level
            if shift < len(states):
                moved = states[shift:] + power(states[:-shift])
                states = torch.cat([states[:shift], moved])
        return reader.read(states + theta_0, z), states[-1].clone()

    delta, outs = drive.new_zeros(batch, transition.size), []
    for start in range(0, steps, reader.chunk):
        now = slice(start, start + reader.chunk)
        going = None if valid is None else valid[:, now].mT
        out, delta = recomputed(part, delta, drive[:, now].transpose(0, 1), going, reader.z[now])
        outs.append(out)
    return torch.cat(outs).transpose(0, 1), delta + theta_0


def by_factors(
    factors: tuple[Tensor, Tensor],
    B: Tensor,
    theta_0: Tensor,
    drive: Tensor,
    reader: Reader | None,
    valid: Tensor | None = None,
    *,
    second_order: bool = False,
) -> tuple[Tensor | None, Tensor]:
    """A recurrence in r dimensions, from which all weights follow at 2 D (r + m) operations each.

    With p_t = V' delta_t, delta_t = U sum_(s<=t) (p_(s-1) + V' theta_0) + B sum_(s<=t) u_s, and
    p_t = (I + V' U) p_(t-1) + V' (push of step t).

    Args:
        factors: U and V of A = I + U V', (D, r) each.
        others: as in `by_doubling`; without a reader only the last weights are computed.
    Returns: outputs (N, T, o), or None, and the last weights (N, D).
    """
    U, V = factors
    u = (drive.cumsum(1) if second_order else drive).transpose(0, 1)
    inner = V.mT @ U
    pushes = push(u, V.mT @ B)
    pull = torch.zeros_like(pushes)
    if not second_order:
        pull = (theta_0 @ V).expand_as(pull)
        pull = pull if valid is None else valid.mT.unsqueeze(-1) * pull
    states = recur(FullPower(inner), torch.zeros_like(pushes[0]), pushes + pull @ inner.mT)
    before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    sums = torch.cat([before + pull, u], -1).cumsum(0)  # (T, N, r + m)
    factor = torch.cat([U, B], 1)

    def part(sums: Tensor, z: Tensor) -> Tensor:
        assert reader is not None
        return reader.read(push(sums, factor) + theta_0, z)

    theta = sums[-1] @ factor.mT + theta_0
    if reader is None:
        return None, theta
    outs = [
        recomputed(part, *rows)
        for rows in zip(sums.split(reader.chunk), reader.z.split(reader.chunk), strict=True)
    ]
    return torch.cat(outs).transpose(0, 1), theta
