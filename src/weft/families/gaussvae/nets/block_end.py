"""What follows a convolution, batch norm, ELU, dropout and max-pool, in two passes over memory."""

# B batch, C channels, T positions, R = B T rows, s positions that a pool takes together

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from weft.families.gaussvae.forms.crew import share
from weft.families.gaussvae.forms.dispatch import has_numba
from weft.families.gaussvae.nets.keras import EPSILON, KerasBatchNorm
from weft.nn.dropout import Dropout, bits, gain, lowest
from weft.nn.once import is_transformed, once

_LEAST = 1 << 15
"""Numbers from which on the compiled passes are worth their calls, and being compiled."""

_WIDE = 16


def block_end(x: Tensor, norm: KerasBatchNorm, dropout: Dropout, pool: int = 1) -> Tensor:
    """max_pool(dropout(elu(norm(x)))); x may be overwritten.

    In training on a CPU with numba it takes a fourth of the time of torch's layers, draws the same
    random bits, and agrees with them to rounding; in bf16 it rounds once where they round at each
    layer.

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
        rows = batch * length
        part = max(1, kernels.PART // channels // pool) * pool
        parts = -(-rows // part)
        given = _rows(x)
        sums = np.empty((parts, 2, channels), np.float32)
        share(lambda first, last: kernels.moments(first, last, part, given, sums), parts)
        statistics = torch.empty(2, channels)
        mean, variance = statistics
        kernels.together(part, rows, sums, mean.numpy(), variance.numpy())
        norm.move(mean, variance)
        inverse = torch.rsqrt(variance + EPSILON)
        factor = weight * inverse
        line = torch.stack((factor, torch.addcmul(bias, factor, mean, value=-1)))
        drops = dropout.training and dropout.p > 0
        random = bits((rows, channels) if drops else (0, channels))
        y = x.new_empty(batch, 1, length // pool, channels).permute(0, 3, 1, 2)
        numbers = (
            lowest(dropout.p) if drops else np.int16(0),
            np.float32(gain(dropout.p) if drops else 1),
        )
        lines, chosen, out = line.numpy(), random.numpy(), _rows(y)
        share(
            lambda first, last: kernels.forth(
                first, last, part, given, lines, chosen, *numbers, pool, out
            ),
            parts,
        )
        ctx.sizes, ctx.numbers = (part, parts, pool), numbers
        ctx.save_for_backward(x, weight, y, line, mean, inverse, random)
        return y

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        from weft.families.gaussvae.forms import block_kernels as kernels

        x, weight, y, line, mean, inverse, random = ctx.saved_tensors
        part, parts, pool = ctx.sizes
        channels = x.shape[1]
        given, lines, means = _rows(x), line.numpy(), mean.numpy()
        inner = torch.empty_like(x)
        sums = np.empty((parts, 2, channels), np.float32)
        slope = slope.to(x.dtype).contiguous(memory_format=torch.channels_last)
        arrays = (_rows(y), _rows(slope), _rows(inner))
        chosen = random.numpy()
        share(
            lambda first, last: kernels.back(
                first, last, part, given, lines, means, chosen, *ctx.numbers, pool, *arrays, sums
            ),
            parts,
        )
        both = torch.empty(2, channels)
        kernels.summed(sums, both.numpy())
        by_bias, by_weight = both[0], both[1] * inverse
        rows = x.numel() // channels
        factor = weight * inverse
        share_of = factor / rows
        factors = torch.stack((factor, -share_of * inverse * by_weight, -share_of * by_bias))
        three, passed = factors.numpy(), arrays[2]
        share(
            lambda first, last: kernels.through(first, last, part, given, means, three, passed),
            parts,
        )
        return inner, by_weight, by_bias, None, None, None


def _rows(x: Tensor) -> np.ndarray[Any, Any]:
    """(B, C, 1, T) in channels-last memory as rows (R, C); bf16 as int16."""
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy()
