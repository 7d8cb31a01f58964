"""How the weights of a run respond to its data, k steps later, and to its start and its clock."""

# T steps, d data channels, r clock channels, G different starts, D weights

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp.forms.lag_kernel import kernel_of
from weft.families.warp.transition.base import Transition
from weft.nn.dense import linear


def response(
    transition: Transition,
    B: Tensor,
    theta_0: Tensor,
    dclock: Tensor,
    *,
    second_order: bool = False,
    doublings: int = 0,
) -> tuple[Tensor, Tensor]:
    """The parts of theta_t = Z_t + sum_{s <= t} K_{t-s} dx_s, batch independent, differentiable.

    K_k = A^k B by the columns of the data; Z_t = A^{t+1} theta_0 + sum_{s <= t} A^{t-s} B dclock_s
    by those of the clock, which all sequences share. At second order I + A + ... + A^k stands for
    A^k, and theta_0 stays where it is.

    Args:
        transition: A.
        B: (D, d + r), data channels first.
        theta_0: (G, D).
        dclock: (T, r).
        second_order: whether the rule is.
        doublings: see `lag_kernel`.
    Returns: K, (T, d, D), and Z, (T, G, D).
    """
    steps, ticks = dclock.shape
    channels = B.shape[1] - ticks
    columns = B.mT if second_order else torch.cat([B.mT, theta_0])
    lags = kernel_of(transition, columns, steps + 1, doublings, few=True)
    if second_order:
        lags, still = lags.cumsum(0), theta_0.expand(steps, *theta_0.shape)
    else:
        still = lags[1:, channels + ticks :]
    kernel, clock = lags[:-1, :channels], lags[:-1, channels : channels + ticks]
    if ticks:
        pushed = linear(_shifted(dclock), clock.flatten(0, 1).mT)
        still = still + pushed.unsqueeze(1)
    return kernel, still


def _shifted(dclock: Tensor) -> Tensor:
    """dclock_{t-k} at [t, k r + c], zero where k > t: (T, T r)."""
    steps = len(dclock)
    padded = torch.cat([dclock.flip(0), torch.zeros_like(dclock)])  # dclock_s at T - 1 - s
    return padded.unfold(0, steps, 1)[:steps].flip(0).mT.flatten(1).contiguous()
