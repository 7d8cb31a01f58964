"""What every kind of the matrix A is: a linear map of weights, its powers, and what it costs.

A is stored as E = A - I. Stored as A, steps of a small learning rate would vanish beside the ones
on the diagonal (fp32 has a spacing of 6e-8 below 1); products are therefore theta + E theta.
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
    """I + E for one shape of E, as a map of rows; squaring keeps the shape, autograd sees through.

    E, never I + E, is what is stored and squared, as 2E + E^2: the small entries of E would be
    rounded away beside the ones of the diagonal.

    Args:
        tensors: what E is made of.
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
    """A linear map on R^D; one subclass, in its own file, a kind. It starts as the identity where
    it can, or `spread`.

    Args:
        size: D.
    Attributes:
        structured: whether A has fewer numbers than any matrix, so that its powers are cheap.
    """

    structured = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def forward(self, theta: Tensor) -> Tensor:
        """A theta, shape (..., D), under autograd."""

    def carry(self, rows: Tensor) -> Tensor:
        """A x of each row x, (M, D), in a new tensor; nobody asks for its gradient."""
        image: Tensor = self(rows)
        return image

    @abstractmethod
    def transpose(self, rows: Tensor) -> Tensor:
        """A' x of each row x, (M, D), in a new tensor; nobody asks for its gradient."""

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

        Of an A = I + U V' the columns of V become orthonormal.

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
        """How far the spectrum of A may move when every entry of a parameter moves by 1."""

    @property
    def decays(self) -> bool:
        """Whether weight decay takes A to the identity; else it would change what A remembers."""
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
        """Starts at A = `matrix`, (D, D), where A may be any matrix; returns whether it may."""
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
        """Whether `spectral_radius` costs little beside an evaluation."""
        return True


def radius(matrix: Tensor) -> float:
    """Largest modulus of an eigenvalue of a square matrix; NaN where an entry is no finite number.

    MKL would write beyond its memory there, and the process would end without a word.
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
