"""What follows a convolution, batch norm, ELU, dropout and max-pool, in two passes over memory."""

# B batch, C channels, T positions, R = B T rows, s positions that a pool takes together

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from weft.families.gaussvae.forms.crew import share
from weft.families.gaussvae.forms.dispatch import has_numba
from weft.families.gaussvae.nets.keras import EPSILON, MOMENTUM, KerasBatchNorm
from weft.nn.dropout import Dropout
from weft.nn.once import is_transformed, once

_LEAST = 1 << 15
"""Numbers from which on the compiled passes are worth their calls, and being compiled."""

_SHARED = 1 << 21
"""Numbers from which on passes are divided over threads: to hand smaller ones over, and to wake a
thread while torch's own still spin on its core, takes as long as it saves."""

_WIDE = 16
"""Channels come in such numbers."""

_LEVELS = 1 << 32
"""A share that is dropped is rounded to a multiple of one over this."""


def block_end(x: Tensor, norm: KerasBatchNorm, dropout: Dropout, pool: int = 1) -> Tensor:
    """max_pool(dropout(elu(norm(x)))); x may be overwritten.

    In training on a CPU with numba it takes a fourth of the time of torch's layers and agrees with
    them to rounding, but drops other entries; in bf16 it rounds once where they round thrice.

    Args:
        x: (B, C, 1, T).
        norm, dropout: with their parameters and modes.
        pool: s.
    Returns: (B, C, 1, T // s).
    """
    if _can(x, norm, pool):
        y: Tensor = _BlockEnd.apply(x, norm.weight, norm.bias, norm, dropout, pool)
        return y
    y = dropout(F.elu(norm(x), inplace=True))
    return F.max_pool2d(y, (1, pool)) if pool > 1 else y


def _can(x: Tensor, norm: KerasBatchNorm, pool: int) -> bool:
    """Whether the compiled form takes these."""
    return (
        norm.training
        and x.numel() >= _LEAST
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and norm.weight.dtype == torch.float32
        and x.shape[1] % _WIDE == 0
        and x.shape[3] % pool == 0
        and x.permute(0, 2, 3, 1).is_contiguous()
        and not torch.compiler.is_compiling()
        and not is_transformed()
        and has_numba()
    )


class _BlockEnd(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: KerasBatchNorm,
        dropout: Dropout,
        pool: int,
    ) -> Tensor:
        from weft.families.gaussvae.forms import block_kernels as kernels

        batch, channels, _, length = x.shape
        total = batch * length
        rows = max(1, kernels.PART // channels // pool) * pool
        parts = -(-total // rows)
        given = _rows(x)
        sums = np.empty((parts, 2, channels), np.float32)
        _over(given, parts, lambda first, last: kernels.moments(first, last, rows, given, sums))
        known = np.empty((4, channels), np.float32)
        affine = weight.detach().numpy(), bias.detach().numpy()
        kernels.settle(rows, total, sums, *affine, EPSILON, MOMENTUM, *_moving(norm), known)
        drops, gain = _drops(dropout)
        y = x.new_empty(batch, 1, length // pool, channels).permute(0, 3, 1, 2)
        out = _rows(y)
        _over(
            given,
            parts,
            lambda first, last: kernels.forth(
                first, last, rows, given, known, drops, gain, pool, out
            ),
        )
        ctx.known = rows, parts, known, drops, gain, pool
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        from weft.families.gaussvae.forms import block_kernels as kernels

        x, weight, y = ctx.saved_tensors
        rows, parts, known, drops, gain, pool = ctx.known
        channels = x.shape[1]
        inner, slopes = torch.empty_like(x), torch.empty(2, channels)
        slope = slope.to(x.dtype).contiguous(memory_format=torch.channels_last)
        given, out, above, g = (_rows(each) for each in (x, y, slope, inner))
        sums = np.empty((parts, 2, channels), np.float32)
        _over(
            given,
            parts,
            lambda first, last: kernels.back(
                first, last, rows, given, known, drops, gain, pool, out, above, g, sums
            ),
        )
        factors = np.empty((3, channels), np.float32)
        kernels.resolve(len(given), sums, weight.numpy(), known, slopes.numpy(), factors)
        _over(
            given,
            parts,
            lambda first, last: kernels.through(first, last, rows, given, known, factors, g),
        )
        return inner, slopes[0], slopes[1], None, None, None


def _over(given: np.ndarray[Any, Any], parts: int, work: Callable[[int, int], object]) -> None:
    """work(first, last) over all parts, by several threads where that pays."""
    if given.size < _SHARED:
        work(0, parts)
    else:
        share(work, parts)


def _moving(norm: KerasBatchNorm) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The moving mean and variance, if they are to be moved."""
    mean, variance = norm.running_mean, norm.running_var
    if not norm.track_running_stats or mean is None or variance is None:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    return mean.numpy(), variance.numpy()


def _drops(dropout: Dropout) -> tuple[np.ndarray[Any, Any], np.float32]:
    """Two random seeds and the least of 32 bits that stays, of torch's stream; and the gain."""
    level = round(dropout.p * _LEVELS) if dropout.training else 0
    if level == 0:
        return np.zeros(3, np.uint32), np.float32(1)
    seeds = torch.empty(2, dtype=torch.int64).random_(0, _LEVELS)
    return np.array([*seeds.tolist(), level], np.uint32), np.float32(1 / (1 - level / _LEVELS))


def _rows(x: Tensor) -> np.ndarray[Any, Any]:
    """(B, C, 1, T) in channels-last memory as rows (R, C); bf16 as int16."""
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy()
