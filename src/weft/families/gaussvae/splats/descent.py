"""Adam on the numbers of many pictures at once, independently for each picture."""

# M pictures, N splats each

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-8


@dataclass
class Descent:
    """The numbers of a fit, and Adam's two moments of their gradients.

    Attributes:
        free, first, second: numbers and moments, (M, N, 8), contiguous, changed in place.
        step: number of steps taken.
    """

    free: Tensor
    first: Tensor
    second: Tensor
    step: int = 0

    @classmethod
    def of(cls, free: Tensor) -> Descent:
        """The state before the first step."""
        return cls(free.contiguous(), torch.zeros_like(free), torch.zeros_like(free))

    def alone(self) -> Iterator[Descent]:
        """The same memory in parts whose results do not depend on each other.

        On a CPU a part is one picture, because torch's division of a tensor over vectors and
        threads changes last digits. On a GPU the arithmetic of a number does not depend on its
        position, and all pictures are one part.
        """
        size = 1 if self.free.device.type == "cpu" else len(self.free)
        parts = (values.split(size) for values in (self.free, self.first, self.second))
        for free, first, second in zip(*parts, strict=True):
            yield Descent(free, first, second, self.step)

    def down(self, gradient: Tensor, rates: float | Tensor, betas: tuple[float, float]) -> None:
        """One step: p <- p - rate m' / (sqrt(v') + epsilon), with bias-corrected m' and v'.

        Args:
            gradient: (M, N, 8).
            rates: of all numbers, or of each column, (8,).
            betas: decay rates of the moments.
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
        """As `down`, with the number of the step, from 1, given by the caller; may be a tensor."""
        one, two = betas
        self.first.mul_(one).add_(gradient, alpha=1 - one)
        self.second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        size = (self.second / (1 - two**step)).sqrt_().add_(EPSILON)
        self.free.addcdiv_(self.first * (rates / (1 - one**step)), size, value=-1)
