"""Dropout, with random bits that cost a CPU a third of what torch's own do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """x with a share p of its entries set to 0 and the others divided by 1 - p.

    On a CPU an entry has 16 random bits of its own, so p is rounded to a multiple of 2^-16 and the
    divisor with it: the mean stays exact.

    Args:
        x: any shape.
        p: share in [0, 1).
        training: False leaves x as it is.
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)
    # They lie as x does: torch is slow where two operands lie in different orders.
    strides = torch.empty_like(x, device="meta").stride()
    return x * kept(bits(x.shape).as_strided(x.shape, strides), p, x.dtype).mul_(gain(p))


def bits(shape: Sequence[int]) -> Tensor:
    """16 random bits for each entry, int16 of that shape, from the CPU's default stream."""
    count = math.prod(shape)
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.int16)[:count].view(*shape)


def kept(drawn: Tensor, p: float, dtype: torch.dtype) -> Tensor:
    """1 for what stays, and 0 for a share p of the entries.

    Args:
        drawn: their bits, int16, which are used up.
        p: share in (0, 1), rounded to a multiple of 2^-16.
        dtype: of the result.
    Returns: as `drawn` lies.
    """
    level = round(p * _LEVELS)
    if level == 0:
        return torch.ones_like(drawn, dtype=dtype)
    # Arithmetic of 16 bits: comparing, and bools as factors, takes a CPU three times as long.
    least = level - _LEVELS // 2
    return drawn.clamp_(least - 1, least).sub_(least - 1).to(dtype)


def gain(p: float) -> float:
    """What is left is multiplied by this, 1 / (1 - p) with the p that `kept` has rounded."""
    return _LEVELS / (_LEVELS - round(p * _LEVELS))


class Dropout(nn.Dropout):
    """`dropout` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return dropout(x, self.p, self.training)
