"""One step of the weights by few large products, with state and drive in one row."""

# N batch, R rows, m drive channels, D weights, P width of a row

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.warp.transition.base import Transition
from weft.families.warp.transition.full import Full
from weft.nn.dense import product, product_onto

WIDTH = 16
"""Long rows are padded to a multiple of this, as products are faster with whole vectors."""
LONG = 40 * WIDTH
"""Length from which on this padding costs little."""


class Rows(Protocol):
    """A x + B u of each row [x, u, zeros], by hand in both directions.

    Attributes:
        width: P.
    """

    width: int

    def move(self, rows: Tensor) -> Tensor:
        """A x + B u of rows (N, P), in the first D columns."""

    def back(self, errors: Tensor) -> Tensor:
        """[A' e, B' e] of errors [e, zeros], (N, P), in the first D + m columns."""

    def sums(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """Sums over R rows of errors and rows, both (R, P), which may be added to others."""

    def gradients(self, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Of sum e . (A x + B u) over all rows: by B, and by each parameter of A."""


class DenseRows:
    """A full A and B in one matrix, so that a step is one product: [x, u] W' + [x, u].

    Args:
        E: A - I, (D, D).
        B: (D, m).
        half: whether products are rounded to bfloat16. In A x = x + E x this is only E x.
    """

    def __init__(self, E: Tensor, B: Tensor, *, half: bool = False) -> None:
        self.half, self.dtype = half, B.dtype
        self.size, self.drives = B.shape
        used = self.size + self.drives
        self.width = used if used < LONG else -(-used // WIDTH) * WIDTH
        beyond = self.width - self.size
        W = torch.cat([E, B, B.new_zeros(self.size, beyond - self.drives)], 1)
        W = F.pad(W, (0, 0, 0, beyond))
        self.W = W.bfloat16() if half else W
        # Products are 6 % faster if the matrix is stored in the order of multiplication.
        self.W_forth = self.W.mT.contiguous().mT

    def move(self, rows: Tensor) -> Tensor:
        """One product."""
        return self._added(rows, self.W_forth)

    def back(self, errors: Tensor) -> Tensor:
        """One product."""
        return self._added(errors, self.W.mT)

    def sums(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """One product for both."""
        if self.half:
            errors, rows = errors.bfloat16(), rows.bfloat16()
        return (product(errors.mT, rows.mT).to(self.dtype),)

    def gradients(self, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Parts of the sum."""
        both = sums[0][: self.size]
        return both[:, self.size : self.size + self.drives], both[:, : self.size]

    def _added(self, rows: Tensor, weight: Tensor) -> Tensor:
        if self.half:
            return rows + product(rows.bfloat16(), weight)
        return product_onto(rows, weight, rows)


class ShapedRows:
    """A of any shape beside B.

    Args:
        transition: A.
        B: (D, m).
    """

    def __init__(self, transition: Transition, B: Tensor) -> None:
        self.transition, self.B = transition, B
        self.size, self.width = len(B), sum(B.shape)

    def move(self, rows: Tensor) -> Tensor:
        """Two products."""
        x, u = rows.split([self.size, self.B.shape[1]], 1)
        return self.transition.carry(x.contiguous()).addmm_(u, self.B.mT)

    def back(self, errors: Tensor) -> Tensor:
        """Two products."""
        error = errors[:, : self.size].contiguous()
        return torch.cat([self.transition.transpose(error), error @ self.B], 1)

    def sums(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """One product for each."""
        error = errors[:, : self.size].contiguous()
        x, u = rows.split([self.size, self.B.shape[1]], 1)
        return error.mT @ u, *self.transition.gradients(error, x.contiguous())

    def gradients(self, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The sums."""
        return sums


def rows_of(transition: Transition, B: Tensor, *, half: bool = False) -> Rows:
    """The fastest products for `transition` and B; `half` applies to `DenseRows` only."""
    if isinstance(transition, Full):
        return DenseRows(transition.E, B, half=half)
    return ShapedRows(transition, B)
