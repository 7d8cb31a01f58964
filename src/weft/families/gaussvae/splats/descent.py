"""Adam on the numbers of many pictures at once, each of which goes its own way."""

# M pictures, N splats each

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-8


@dataclass
class Descent:
    """Numbers under way, and Adam's two moments of their gradients.

    Attributes:
        free, first, second: (M, N, 8), contiguous, changed in place.
        step: how many steps were taken.
    """

    free: Tensor
    first: Tensor
    second: Tensor
    step: int = 0

    @classmethod
    def of(cls, free: Tensor) -> Descent:
        """At rest."""
        return cls(free.contiguous(), torch.zeros_like(free), torch.zeros_like(free))

    def alone(self) -> Iterator[Descent]:
        """The same memory in parts that do not feel each other's company.

        On a CPU that is one picture each: how torch splits a tensor over vectors and threads moves
        last digits. On a GPU a number's arithmetic does not depend on its place.
        """
        size = 1 if self.free.device.type == "cpu" else len(self.free)
        parts = (values.split(size) for values in (self.free, self.first, self.second))
        for free, first, second in zip(*parts, strict=True):
            yield Descent(free, first, second, self.step)

    def down(self, gradient: Tensor, rates: float | Tensor, betas: tuple[float, float]) -> None:
        """One step: p <- p - rate m' / (sqrt(v') + epsilon), m' and v' free of their bias.

        Args:
            gradient: (M, N, 8).
            rates: of all numbers, or of each column, (8,).
            betas: how much of the old moments stays.
        """
        self.step += 1
        self.move(gradient, rates, betas, self.step)

    def move(
        self,
        gradient: Tensor,
        rates: float | Tensor,
        betas: tuple[float, float],
        step: int | Tensor,
    ) -> None:
        """What `down` does, for who counts steps himself: `step` from 1, or a scalar tensor."""
        one, two = betas
        self.first.mul_(one).add_(gradient, alpha=1 - one)
        self.second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        size = (self.second / (1 - two**step)).sqrt_().add_(EPSILON)
        self.free.addcdiv_(self.first * (rates / (1 - one**step)), size, value=-1)
