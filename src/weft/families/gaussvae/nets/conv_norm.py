"""Convolution, batch norm, ELU, dropout and max-pool as one autograd function for a CPU."""

# B batch, I inputs, O outputs, T positions, r repeats, s positions that a pool takes together

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
from weft.families.gaussvae.nets.keras import EPSILON, MOMENTUM, KerasBatchNorm, SameConv1d
from weft.nn.dropout import Dropout
from weft.nn.once import is_transformed, once
from weft.nn.precision import full_precision

_LEAST = 1 << 15
"""Numbers from which on the compiled passes are worth their calls, and being compiled."""

_SHARED = 1 << 21
"""Numbers from which on passes are divided over threads: to hand smaller ones over, and to wake a
thread while torch's own still spin on its core, takes as long as it saves."""

_WIDE = 16
"""Channels come in such numbers."""

_LEVELS = 1 << 32
"""A share that is dropped is rounded to a multiple of one over this."""


def conv_norm(
    x: Tensor, conv: SameConv1d, norm: KerasBatchNorm, dropout: Dropout, pool: int = 1
) -> Tensor:
    """max_pool(dropout(elu(norm(conv(x))))).

    In training on a CPU with numba it agrees with torch's layers to rounding, but drops other
    entries. What follows the convolution is two passes over memory there and two back, in a fourth
    of the time. Under autocast numbers are rounded to bf16 as a convolution ends and before the
    next one, where torch rounds after each layer.

    Args:
        x: (B, I, 1, T).
        conv, norm, dropout: with their parameters and modes.
        pool: s.
    Returns: (B, O, 1, r T // s).
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if _can(x, dtype, conv, norm, pool):
        parameters = conv.weight, conv.bias, norm.weight, norm.bias
        y: Tensor = _ConvNorm.apply(x, *parameters, conv, norm, dropout, pool, dtype)
        return y
    y = dropout(F.elu(norm(conv(x)), inplace=True))
    return F.max_pool2d(y, (1, pool)) if pool > 1 else y


def _can(x: Tensor, dtype: torch.dtype, conv: SameConv1d, norm: KerasBatchNorm, pool: int) -> bool:
    """Whether the compiled form takes these."""
    length = conv.repeats * x.shape[3]
    return (
        norm.training
        and len(x) * conv.out_channels * length >= _LEAST
        and x.device.type == "cpu"
        and dtype in (torch.float32, torch.bfloat16)
        and norm.weight.dtype == conv.weight.dtype == torch.float32
        and conv.before == conv.behind
        and conv.out_channels % _WIDE == 0
        and length % pool == 0
        and not torch.compiler.is_compiling()
        and not is_transformed()
        and has_numba()
    )


class _ConvNorm(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        shift: Tensor,
        conv: SameConv1d,
        norm: KerasBatchNorm,
        dropout: Dropout,
        pool: int,
        dtype: torch.dtype,
    ) -> Tensor:
        from weft.families.gaussvae.forms import block_kernels as kernels

        with full_precision(x.device):
            taps = conv.computed(weight)
        x, taps = x.to(dtype), taps.unsqueeze(2).to(dtype)
        offset = (bias.repeat(conv.repeats) if conv.repeats > 1 else bias).to(dtype)
        inner = _convolved(x, taps, offset, conv)
        given, channels = _rows(inner, conv.out_channels), conv.out_channels
        total = len(given)
        rows = max(1, kernels.PART // channels // pool) * pool
        parts = -(-total // rows)
        sums = np.empty((parts, 2, channels), np.float32)
        _over(given, parts, lambda first, last: kernels.moments(first, last, rows, given, sums))
        known = np.empty((4, channels), np.float32)
        affine = scale.detach().numpy(), shift.detach().numpy()
        kernels.settle(rows, total, sums, *affine, EPSILON, MOMENTUM, *_moving(norm), known)
        drops, gain = _drops(dropout)
        y = inner.new_empty(len(x), 1, total // len(x) // pool, channels).permute(0, 3, 1, 2)
        out = _rows(y, channels)
        _over(
            given,
            parts,
            lambda first, last: kernels.forth(
                first, last, rows, given, known, drops, gain, pool, out
            ),
        )
        ctx.known = conv, rows, parts, known, drops, gain, pool
        ctx.save_for_backward(x, taps, scale, inner, y)
        return y

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        from weft.families.gaussvae.forms import block_kernels as kernels

        x, taps, scale, inner, y = ctx.saved_tensors
        conv, rows, parts, known, drops, gain, pool = ctx.known
        channels = conv.out_channels
        by_inner, by_affine = torch.empty_like(inner), torch.empty(2, channels)
        slope = slope.to(inner.dtype).contiguous(memory_format=torch.channels_last)
        given, out, above, g = (_rows(each, channels) for each in (inner, y, slope, by_inner))
        sums = np.empty((parts, 2, channels), np.float32)
        _over(
            given,
            parts,
            lambda first, last: kernels.back(
                first, last, rows, given, known, drops, gain, pool, out, above, g, sums
            ),
        )
        factors = np.empty((3, channels), np.float32)
        kernels.resolve(len(given), sums, scale.numpy(), known, by_affine.numpy(), factors)
        _over(
            given,
            parts,
            lambda first, last: kernels.through(first, last, rows, given, known, factors, g),
        )
        by_x, by_taps, by_offset = torch.ops.aten.convolution_backward(
            by_inner, x, taps, [len(taps)], [1, 1], [0, conv.before], [1, 1], False, [0, 0], 1,
            [ctx.needs_input_grad[0], True, True],
        )  # fmt: skip
        by_weight = conv.returned(by_taps.squeeze(2).float())
        by_bias = by_offset.float().unflatten(0, (conv.repeats, -1)).sum(0)
        return by_x, by_weight, by_bias, by_affine[0], by_affine[1], *[None] * 5


def _convolved(x: Tensor, taps: Tensor, offset: Tensor, conv: SameConv1d) -> Tensor:
    """(B, I, 1, T) -> (B, r O, 1, T), channels last in memory."""
    y = torch.convolution(x, taps, offset, [1, 1], [0, conv.before], [1, 1], False, [0, 0], 1)
    return y.contiguous(memory_format=torch.channels_last)


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


def _rows(x: Tensor, channels: int) -> np.ndarray[Any, Any]:
    """(B, r C, 1, T), channels last in memory, as rows (B T r, C); bf16 as int16."""
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1, channels)
    return (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy()
