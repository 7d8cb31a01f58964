"""Formulas as roots: their weights, and optionally the start of their dynamics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(theta (..., D), tau (..., 1), x (..., channels)) -> (..., outputs), where leading dimensions
broadcast, and x has no channels unless `input_prev_data`."""


class Dynamics(NamedTuple):
    """The start of a recurrence that computes the weights of a formula; it is then trained.

    Attributes:
        transition: A, shape (D, D).
        drive: B for the data's channels, shape (D, d).
        first: W of theta_0 = W x_0, shape (D, d).
    """

    transition: Tensor
    drive: Tensor
    first: Tensor


@dataclass(frozen=True)
class Law:
    """A formula with everything needed to use it as a root.

    Attributes:
        formula: computes the outputs from weights, time and, if given, data.
        size: D, number of weights of the formula.
        outputs: number of channels it returns.
        fresh: generator -> initial weights (D,); None: zeros.
        flops: floating point operations of one evaluation.
        dynamics: start of A, B and theta_0; None for A = I, B = 0 and the config's theta_0.
    """

    formula: Formula
    size: int
    outputs: int
    fresh: Callable[[torch.Generator | None], Tensor] | None = None
    flops: int = 0
    dynamics: Callable[[], Dynamics] | None = None


@dataclass(frozen=True)
class FormulaRoot:
    """A law as a root; raw deviations, if any, are additional weights.

    Args:
        law: the formula.
        inputs: features of z; the first is the time tau.
        channels: number of the last features of z that are data.
        deviations: number of channels with a raw standard deviation, 0 without likelihood.
    """

    law: Law
    inputs: int
    channels: int = 0
    deviations: int = 0

    @property
    def size(self) -> int:
        """D, number of weights."""
        return self.law.size + self.deviations

    @property
    def outputs(self) -> int:
        """Outputs of the formula, then the raw deviations."""
        return self.law.outputs + self.deviations

    @property
    def flops(self) -> int:
        """Floating point operations of one evaluation."""
        return self.law.flops

    def fresh(self, generator: torch.Generator | None = None) -> Tensor:
        """Initial weights of the law, shape (D,); raw deviations are 0."""
        law = self.law
        start = torch.zeros(law.size) if law.fresh is None else law.fresh(generator)
        return torch.cat([start, torch.zeros(self.deviations)])

    def dynamics(self) -> Dynamics | None:
        """The law's dynamics, in which raw deviations stay at 0; None if it has none."""
        if self.law.dynamics is None:
            return None
        asked, more = self.law.dynamics(), self.deviations
        transition = torch.eye(self.size)
        transition[: self.law.size, : self.law.size] = asked.transition
        below = (0, 0, 0, more)
        return Dynamics(transition, F.pad(asked.drive, below), F.pad(asked.first, below))

    def __call__(self, theta: Tensor, z: Tensor) -> Tensor:
        """The law at weights theta (..., D) and inputs z (..., inputs): (..., outputs)."""
        weights = theta[..., : self.law.size]
        x = z[..., self.inputs - self.channels :]
        mean = self.law.formula(weights, z[..., :1], x)
        if not self.deviations:
            return mean
        raw = theta[..., self.law.size :].expand(*mean.shape[:-1], self.deviations)
        return torch.cat([mean, raw], dim=-1)
