"""Losses and measures, as pure functions."""

# B points

from __future__ import annotations

from torch import Tensor


def squared_error(predicted: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of heights (B, 1), a scalar."""
    return (predicted - y).square().mean()
