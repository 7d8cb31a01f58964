"""The linear response of the weights to the data k steps before, and to start and clock."""

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
    """K and Z of theta_t = Z_t + sum_{s <= t} K_{t-s} dx_s, differentiable; K has no batch.

    K_k = A^k B with the columns of B for data; Z_t = A^{t+1} theta_0 + sum_{s <= t} A^{t-s} B
    dclock_s with the columns for the clock, which all sequences share. At second order A^k is
    replaced by I + A + ... + A^k, and A^{t+1} theta_0 by theta_0.

    Args:
        transition: A.
        B: (D, d + r), data channels first.
        theta_0: (G, D).
        dclock: (T, r).
        second_order: whether the rule is of second order.
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
