"""The matrix A that carries the weights from step to step, stored as E = A - I.

Stored as A, steps of a small learning rate would vanish beside the ones on the diagonal (fp32 has
a spacing of 6e-8 below 1); products are therefore taken as theta + E theta.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from weft.errors import ConfigError


class Transition(nn.Module, ABC):
    """A linear map on R^D that starts as the identity.

    The vectors are rows of tensors of any leading shape (..., D). `forward`, `transpose` and
    `gradients` read the module's parameters in the order of `parameters()`.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def forward(self, theta: Tensor) -> Tensor:
        """A theta, shape (..., D)."""

    @abstractmethod
    def transpose(self, g: Tensor) -> Tensor:
        """A' g, shape (..., D)."""

    @abstractmethod
    def gradients(self, g: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        """Gradients of sum_m g_m . (A theta_m) with respect to the parameters.

        Args:
            g: errors at the outputs, shape (M, D).
            theta: inputs, shape (M, D).
        Returns: one tensor per parameter, in the order of `parameters()`.
        """

    @property
    @abstractmethod
    def flops(self) -> int:
        """Floating point operations of one product A theta."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """How far the spectrum of A may move when every entry of a parameter moves by 1."""

    def dense(self) -> Tensor:
        """A as a matrix, shape (D, D); differentiable."""
        parameter = next(self.parameters())
        identity = torch.eye(self.size, dtype=parameter.dtype, device=parameter.device)
        image: Tensor = self(identity)
        return image.mT

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """Largest modulus of an eigenvalue of A; above 1, weights grow with sequence length."""
        return float(torch.linalg.eigvals(self.dense()).abs().max())


class Full(Transition):
    """Any matrix: D^2 parameters, 2 D^2 operations a product."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.E = nn.Parameter(torch.zeros(size, size))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + E theta."""
        return theta + theta @ self.E.mT

    def transpose(self, g: Tensor) -> Tensor:
        """g + E' g."""
        return g + g @ self.E

    def gradients(self, g: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        """dE = sum_m g_m theta_m'."""
        return (g.mT @ theta,)

    @property
    def reach(self) -> float:
        """D: the norm of D x D ones."""
        return float(self.size)

    @property
    def flops(self) -> int:
        """2 D^2."""
        return 2 * self.size**2


class Diagonal(Transition):
    """A diagonal matrix: D parameters, each weight on its own."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.E = nn.Parameter(torch.zeros(size))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + e * theta."""
        return theta + self.E * theta

    def transpose(self, g: Tensor) -> Tensor:
        """g + e * g."""
        return g + self.E * g

    def gradients(self, g: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        """de = sum_m g_m * theta_m."""
        return ((g * theta).sum(0),)

    @property
    def reach(self) -> float:
        """1: each entry is an eigenvalue."""
        return 1.0

    @property
    def flops(self) -> int:
        """2 D."""
        return 2 * self.size

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """max |1 + e|."""
        return float((1 + self.E).abs().max())


class Block(Transition):
    """Dense blocks of `width` along the diagonal; the last block is padded to full width.

    Rows and columns of the padding never meet a weight: their gradient is zero and they stay zero.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size)
        self.width = min(width, size)
        self.count = -(-size // self.width)
        self.E = nn.Parameter(torch.zeros(self.count, self.width, self.width))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + E_k theta_k in each block k."""
        return theta + self._join((self.E @ self._split(theta).unsqueeze(-1)).squeeze(-1))

    def transpose(self, g: Tensor) -> Tensor:
        """g + E_k' g_k in each block k."""
        return g + self._join((self.E.mT @ self._split(g).unsqueeze(-1)).squeeze(-1))

    def gradients(self, g: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        """dE_k = sum_m g_mk theta_mk'."""
        return (torch.einsum("mki,mkj->kij", self._split(g), self._split(theta)),)

    @property
    def reach(self) -> float:
        """b: the norm of b x b ones."""
        return float(self.width)

    @property
    def flops(self) -> int:
        """2 D width, padding included."""
        return 2 * self.count * self.width**2

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """Largest over the blocks; the padding's eigenvalue 1 is left out."""
        last = self.size - (self.count - 1) * self.width
        identity = torch.eye(self.width, dtype=self.E.dtype, device=self.E.device)
        blocks = [*(identity + self.E[:-1]), (identity + self.E[-1])[:last, :last]]
        return max(float(torch.linalg.eigvals(block).abs().max()) for block in blocks)

    def _split(self, theta: Tensor) -> Tensor:
        padded = nn.functional.pad(theta, (0, self.count * self.width - self.size))
        return padded.view(*theta.shape[:-1], self.count, self.width)

    def _join(self, blocks: Tensor) -> Tensor:
        return blocks.flatten(-2)[..., : self.size]


class LowRank(Transition):
    """A = I + U V': 2 D rank parameters and 4 D rank operations a product.

    U starts at zero, so that A is the identity, and V uniform in ±1/sqrt(D), so that U can move.
    """

    def __init__(self, size: int, rank: int) -> None:
        super().__init__(size)
        self.rank = rank
        self.U = nn.Parameter(torch.zeros(size, rank))
        self.V = nn.Parameter(torch.empty(size, rank).uniform_(-(size**-0.5), size**-0.5))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + U V' theta."""
        return theta + (theta @ self.V) @ self.U.mT

    def transpose(self, g: Tensor) -> Tensor:
        """g + V U' g."""
        return g + (g @ self.U) @ self.V.mT

    def gradients(self, g: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        """dU = sum_m g_m (V' theta_m)', dV = sum_m theta_m (U' g_m)'."""
        return g.mT @ (theta @ self.V), theta.mT @ (g @ self.U)

    @property
    def reach(self) -> float:
        """r sqrt(D): D x r ones against r columns of length up to 1."""
        return self.V.shape[1] * self.size**0.5

    @property
    def flops(self) -> int:
        """4 D rank."""
        return 4 * self.size * self.rank

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """The eigenvalues of A are 1 + those of the rank x rank matrix V' U, and ones."""
        moved = float((1 + torch.linalg.eigvals(self.V.mT @ self.U)).abs().max())
        return moved if self.rank >= self.size else max(1.0, moved)


def build_transition(kind: str, size: int) -> Transition:
    """The transition that `kind` describes.

    Args:
        kind: `full`, `diag`, `block:<width>` or `lowrank:<rank>`.
        size: D.
    Raises:
        ConfigError: if `kind` is none of these.
    """
    name, _, number = kind.partition(":")
    if name in ("full", "diag") and not number:
        return Full(size) if name == "full" else Diagonal(size)
    if name in ("block", "lowrank") and number.isdecimal() and int(number) > 0:
        return Block(size, int(number)) if name == "block" else LowRank(size, int(number))
    raise ConfigError(
        f"there is no transition `{kind}`",
        where="transition",
        expected="full, diag, block:<width> or lowrank:<rank>, such as block:32",
    )
