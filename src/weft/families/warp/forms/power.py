"""Powers A, A^2, A^4, ... of a transition, as maps of rows made of plain tensors."""

# N rows, D weights, G blocks of b weights, r rank

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.warp.cell.transition import Block, Diagonal, Full, LowRank, Transition
from weft.nn.dense import linear


class Power(ABC):
    """I + E for one shape of E; squaring keeps the shape, and autograd sees through it.

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
        """Gradients of sum_n errors_n . (I + E) rows_n, both (N, D): one for each of `tensors`."""

    @abstractmethod
    def squared(self) -> Self:
        """(I + E)^2."""


class FullPower(Power):
    """E of shape (D, D)."""

    def change(self, rows: Tensor) -> Tensor:
        """E x."""
        (E,) = self.tensors
        return linear(rows, E)

    def transpose(self, rows: Tensor) -> Tensor:
        """x + E' x."""
        (E,) = self.tensors
        return rows + linear(rows, E.mT)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_n errors_n rows_n'."""
        return (linear(errors.mT, rows.mT),)

    def squared(self) -> FullPower:
        """2E + E E."""
        (E,) = self.tensors
        return FullPower(torch.add(linear(E, E.mT), E, alpha=2))


class DiagonalPower(Power):
    """E diagonal, stored as (D,)."""

    def __call__(self, rows: Tensor) -> Tensor:
        """x + e * x."""
        (e,) = self.tensors
        return torch.addcmul(rows, rows, e)

    def change(self, rows: Tensor) -> Tensor:
        """e * x."""
        (e,) = self.tensors
        return e * rows

    def transpose(self, rows: Tensor) -> Tensor:
        """x + e * x."""
        return self(rows)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_n errors_n * rows_n."""
        return (torch.linalg.vecdot(errors, rows, dim=0),)

    def squared(self) -> DiagonalPower:
        """2e + e * e."""
        (e,) = self.tensors
        return DiagonalPower(2 * e + e * e)


class BlockPower(Power):
    """E block diagonal, stored as (G, b, b); the last block may reach beyond D."""

    def change(self, rows: Tensor) -> Tensor:
        """E_g x_g in each block."""
        (E,) = self.tensors
        return self._join(self._split(rows) @ E.mT, rows.shape)

    def transpose(self, rows: Tensor) -> Tensor:
        """x + E_g' x_g in each block."""
        (E,) = self.tensors
        return rows + self._join(self._split(rows) @ E, rows.shape)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_n errors_ng rows_ng' in each block."""
        return (self._split(errors).mT @ self._split(rows),)

    def squared(self) -> BlockPower:
        """2E_g + E_g E_g in each block."""
        (E,) = self.tensors
        return BlockPower(torch.baddbmm(E, E, E, beta=2))

    def _split(self, rows: Tensor) -> Tensor:
        """Rows (..., D) as (G, N, b), one product a block."""
        count, width, _ = self.tensors[0].shape
        flat = rows.reshape(-1, rows.shape[-1])
        padded = F.pad(flat, (0, count * width - flat.shape[-1]))
        return padded.unflatten(1, (count, width)).transpose(0, 1)

    def _join(self, blocks: Tensor, shape: torch.Size) -> Tensor:
        return blocks.transpose(0, 1).flatten(1)[:, : shape[-1]].reshape(shape)


class LowRankPower(Power):
    """E = U V' of two factors (D, r); its powers share V."""

    def change(self, rows: Tensor) -> Tensor:
        """U V' x."""
        U, V = self.tensors
        return (rows @ V) @ U.mT

    def transpose(self, rows: Tensor) -> Tensor:
        """x + V U' x."""
        U, V = self.tensors
        return rows + (rows @ U) @ V.mT

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_n errors_n (V' rows_n)', and sum_n rows_n (U' errors_n)'."""
        U, V = self.tensors
        return errors.mT @ (rows @ V), rows.mT @ (errors @ U)

    def squared(self) -> LowRankPower:
        """(I + U V')^2 = I + (2U + U V' U) V'."""
        U, V = self.tensors
        return LowRankPower(2 * U + U @ (V.mT @ U), V)


def first_power(transition: Transition) -> Power:
    """A itself, on the transition's own parameters."""
    if isinstance(transition, Full):
        return FullPower(transition.E)
    if isinstance(transition, Diagonal):
        return DiagonalPower(transition.E)
    if isinstance(transition, Block):
        return BlockPower(_without_padding(transition.E, transition.size))
    assert isinstance(transition, LowRank)
    return LowRankPower(transition.U, transition.V)


def _without_padding(E: Tensor, size: int) -> Tensor:
    """Blocks whose entries beyond D are zero, or squaring would mix them with the others."""
    count, width, _ = E.shape
    inside = (torch.arange(count * width, device=E.device) < size).view(count, width)
    return E * (inside[:, :, None] & inside[:, None, :])


def powers(transition: Transition, count: int) -> list[Power]:
    """A, A^2, A^4, ..., A^(2^count)."""
    found = [first_power(transition)]
    for _ in range(count):
        found.append(found[-1].squared())
    return found
