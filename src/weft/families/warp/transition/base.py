"""The interface of the matrix A: a linear map of weights, its powers, and its cost.

A is stored as E = A - I, and products are theta + E theta. If A itself were stored, steps of a
small learning rate would be lost in rounding next to the ones of the diagonal (fp32 has a spacing
of 6e-8 below 1).
"""

# M rows, D weights

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from weft.errors import ConfigError


class Power(ABC):
    """I + E for one structure of E, as a differentiable map of rows; squaring keeps the structure.

    E is stored, not I + E, and squared as 2E + E^2, as small entries of E would be lost in rounding
    next to the ones of the diagonal.

    Args:
        tensors: from which E is made.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __call__(self, rows: Tensor) -> Tensor:
        """(I + E) x of each row x, shape (..., D)."""
        return rows + self.change(rows)

    @abstractmethod
    def change(self, rows: Tensor) -> Tensor:
        """E x of each row x, shape (..., D)."""

    @abstractmethod
    def transpose(self, rows: Tensor) -> Tensor:
        """(I + E)' x of each row x, shape (..., D)."""

    @abstractmethod
    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """Gradients of sum_m errors_m . (I + E) rows_m, both (M, D): one for each of `tensors`."""

    @abstractmethod
    def squared(self) -> Self:
        """(I + E)^2."""


class Transition(nn.Module, ABC):
    """A linear map on R^D, with one subclass in its own file for each kind.

    It starts as the identity if possible, or with the memory of `spread`.

    Args:
        size: D.
    Attributes:
        structured: whether A has fewer numbers than a full matrix, so that its powers are cheap.
    """

    structured = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def forward(self, theta: Tensor) -> Tensor:
        """A theta, shape (..., D), under autograd."""

    def carry(self, rows: Tensor) -> Tensor:
        """A x of each row x, (M, D), in a new tensor, without gradient."""
        image: Tensor = self(rows)
        return image

    @abstractmethod
    def transpose(self, rows: Tensor) -> Tensor:
        """A' x of each row x, (M, D), in a new tensor, without gradient."""

    @abstractmethod
    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """Gradients of sum_m errors_m . (A rows_m) by the parameters.

        Args:
            errors, rows: (M, D), contiguous.
        Returns: one tensor a parameter, in the order of `parameters()`.
        """

    @abstractmethod
    def power(self) -> Power:
        """A itself, on the module's own parameters."""

    def power_of_few_rows(self) -> Power:
        """The same, laid out for products with a few rows at a time."""
        return self.power()

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """U and V, (D, r) each, if A = I + U V'; else None."""
        return None

    def spread(self, horizon: float) -> None:
        """Starts with a memory of `horizon` steps instead of at the identity, see `paces.paces`.

        If A = I + U V', the columns of V become orthonormal.

        Raises:
            ConfigError: if the kind has no such start.
        """
        raise ConfigError(
            f"{type(self).__name__} has no start with a memory",
            where="transition_init",
            expected="identity",
        )

    @property
    @abstractmethod
    def flops(self) -> int:
        """Floating point operations of one product A theta."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """Largest change of A's spectrum if every entry of a parameter changes by 1."""

    @property
    def decays(self) -> bool:
        """Whether weight decay moves A towards the identity; otherwise A gets none."""
        return True

    @property
    def closed(self) -> bool:
        """Whether a formula gives the powers of A, so that `lags` does."""
        return False

    def lags(self, columns: Tensor, count: int) -> Tensor | None:
        """A^k x of each row x of `columns` (Q, D), k = 0 .. count - 1, (count, Q, D), where a
        formula gives them; else None."""
        return None

    def adopt(self, matrix: Tensor) -> bool:
        """Starts at A = `matrix`, (D, D), if the kind can be any matrix; returns whether it can."""
        return False

    def dense(self) -> Tensor:
        """A as a matrix, shape (D, D); differentiable."""
        parameter = next(self.parameters())
        identity = torch.eye(self.size, dtype=parameter.dtype, device=parameter.device)
        image: Tensor = self(identity)
        return image.mT

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """Largest modulus of an eigenvalue of A; above 1, weights grow with sequence length."""
        return radius(self.dense())

    @property
    def radius_is_cheap(self) -> bool:
        """Whether `spectral_radius` is cheap compared with an evaluation."""
        return True


def radius(matrix: Tensor) -> float:
    """Largest modulus of an eigenvalue of a square matrix; NaN if an entry is not finite.

    With such entries MKL would write out of bounds, and the process would crash.
    """
    if not matrix.isfinite().all():
        return math.nan
    return float(torch.linalg.eigvals(matrix).abs().max())


def powers(transition: Transition, count: int) -> list[Power]:
    """A, A^2, A^4, ..., A^(2^count)."""
    found = [transition.power()]
    for _ in range(count):
        found.append(found[-1].squared())
    return found
