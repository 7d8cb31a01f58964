"""How codes spread: VICReg's hinge and covariance, and the share that never changes in time."""

# G groups (time steps), N codes of a group, D entries of a code

from __future__ import annotations

import torch
from torch import Tensor

from weft.errors import UsageError

VARIANCE_FLOOR = 1e-4


def variance_hinge(z: Tensor) -> Tensor:
    """Mean over groups and entries of relu(1 - sqrt(var + 1e-4)), var over a group (V of VICReg).

    Args:
        z: (G, N, D), N >= 2.

    Raises:
        UsageError: if there are no codes, or a group is one, of which there is no variance.
    """
    _check_several(z)
    # On a CPU `z.var(1)` and its gradient take 2.5 times as long.
    variance = (z - z.mean(1, keepdim=True)).square().sum(1) / (z.shape[1] - 1)
    return (1 - (variance + VARIANCE_FLOOR).sqrt()).relu().mean()


def covariance(z: Tensor) -> Tensor:
    """Mean over groups of (1/D) sum_(i != j) C_ij^2, C the covariance of a group (Cv of VICReg).

    C = X^T X / (N - 1) for centred X has the same Frobenius norm as X X^T / (N - 1): with fewer
    codes than entries that product is the smaller one, and C is never formed.

    Args:
        z: (G, N, D), N >= 2.

    Raises:
        UsageError: if there are no codes, or a group is one, of which there is no covariance.
    """
    _check_several(z)
    _, codes, width = z.shape
    x = (z - z.mean(1, keepdim=True)) / (codes - 1) ** 0.5
    product = x @ x.mT if codes < width else x.mT @ x
    variance = x.square().sum(1)
    return (product.square().sum((1, 2)) - variance.square().sum(1)).mean() / width


def centred(z: Tensor) -> Tensor:
    """Codes (T, B, D) less their mean over time, as one group (1, T B, D).

    What a sequence holds all along, its background, is gone; spread must come from what moves.

    Raises:
        UsageError: if there are no codes, or they are of another shape.
    """
    _check(z)
    return (z - z.mean(0)).flatten(0, 1)[None]


def var_ratio(z: Tensor) -> Tensor:
    """tr Var_b(mean_t z_tb) / tr Var_(t,b)(z_tb), in [0, 1]: the share of variance that is static.

    Args:
        z: (T, B, D).

    Raises:
        UsageError: if there are no codes, or they are of another shape.
    """
    _check(z)
    # Collapsed codes have no variance to share out.
    total = _trace(z.flatten(0, 1)).clamp(min=torch.finfo(z.dtype).tiny)
    return _trace(z.mean(0)) / total


def _check(z: Tensor) -> None:
    if z.dim() != 3 or not z.numel():
        raise UsageError(
            f"codes of shape {tuple(z.shape)}",
            expected="three dimensions, groups (or frames), codes, and entries, none of them 0",
        )


def _check_several(z: Tensor) -> None:
    _check(z)
    if z.shape[1] < 2:
        raise UsageError(
            f"codes of shape {tuple(z.shape)} have no spread: {z.shape[1]} in a group",
            expected="(groups, codes, entries) with two codes or more",
        )


def _trace(z: Tensor) -> Tensor:
    """tr Var of codes (N, D): their mean squared distance from the mean code."""
    return (z - z.mean(0)).square().sum() / len(z)
