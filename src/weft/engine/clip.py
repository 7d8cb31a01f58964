"""Bounds on gradients; every rule also returns the norms before it acted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from weft.config.sections import NoClip, NormClip, ValueClip


class Norms:
    """Euclidean norms of gradients, before anything was done to them.

    Attributes:
        each: of every gradient, scalars on their device; one is not a number, or infinite, exactly
            when some entry is (or the square overflows). Of gradients in pieces, pieces too.
    """

    def __init__(self, gradients: Sequence[Tensor]) -> None:
        self.each = torch._foreach_norm(list(gradients))

    @cached_property
    def joint(self) -> Tensor:
        """That of all together, a scalar, computed when it is asked for. Of gradients in pieces
        it is that of the whole, on every process, and all must ask."""
        norm: Any = torch.linalg.vector_norm(torch.stack(self.each))
        whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        return whole

    @property
    def finite(self) -> bool:
        """Whether `joint` is a number, told without an operation on tensors, which takes longer
        where the norms are here already: no square of them, nor the sum, overflows."""
        norms = list(map(float, self.each))
        return sum(norm * norm for norm in norms) <= torch.finfo(self.each[0].dtype).max


def held(gradients: Sequence[Tensor]) -> list[Tensor]:
    """What this process holds of gradients: themselves, or pieces of them."""
    found: list[Any] = list(gradients)
    return [each.to_local() if hasattr(each, "to_local") else each for each in found]


class NoClipping:
    """Only measures."""

    def __init__(self, config: NoClip) -> None:
        """Nothing to configure."""

    def __call__(self, gradients: Sequence[Tensor]) -> Norms:
        """The norms; gradients stay as they are."""
        return Norms(gradients)


class NormClipping:
    """Scales all gradients by min(1, max_norm / norm), without asking a GPU for the norm."""

    def __init__(self, config: NormClip) -> None:
        self.max_norm = config.max_norm

    def __call__(self, gradients: Sequence[Tensor]) -> Norms:
        """Clips in place; the norms before."""
        norms = Norms(gradients)
        factor = (self.max_norm / (norms.joint + 1e-6)).clamp(max=1.0)
        # A CPU knows the number: nothing is gained by 1, and large gradients take time to read.
        if factor.device.type != "cpu" or float(factor) != 1:
            torch._foreach_mul_(held(gradients), factor)
        return norms


class ValueClipping:
    """Clamps every entry to [-limit, limit]."""

    def __init__(self, config: ValueClip) -> None:
        self.limit = config.limit

    def __call__(self, gradients: Sequence[Tensor]) -> Norms:
        """Clips in place; the norms before."""
        norms = Norms(gradients)
        mine = held(gradients)
        torch._foreach_clamp_min_(mine, -self.limit)
        torch._foreach_clamp_max_(mine, self.limit)
        return norms
