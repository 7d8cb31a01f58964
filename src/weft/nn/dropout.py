"""Dropout whose random bits take a CPU a third of the time of torch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """x with a share p of its entries set to 0 and the others divided by 1 - p.

    On a CPU each entry uses 16 random bits, so p is rounded to a multiple of 2^-16; so is the
    divisor, which keeps the mean exact.

    Args:
        x: any shape.
        p: share in [0, 1).
        training: if False, x is returned unchanged.

    Returns: the shape and dtype of x.
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)
    level = round(p * _LEVELS)
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    # With the strides of x: torch is slow if two operands have different memory orders.
    strides = torch.empty_like(x, device="meta").stride()
    bits = words.view(torch.int16)[: x.numel()].as_strided(x.shape, strides)
    kept = (bits >= level - _LEVELS // 2).to(x.dtype)
    return x * kept.mul_(_LEVELS / (_LEVELS - level))


class Dropout(nn.Dropout):
    """`dropout` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies `dropout` to x of any shape."""
        return dropout(x, self.p, self.training)
