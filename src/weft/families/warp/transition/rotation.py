"""A complex diagonal A: each pair of weights rotates and decays at its own rate."""

# M rows, D weights, K lags, Q columns

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from weft.families.warp.transition.base import Power, Transition
from weft.families.warp.transition.paces import paces


class RotationPower(Power):
    """Weight i and weight i + D // 2 as one complex number, times exp(-exp(rate) + i phase).

    Stored as rate, (ceil(D / 2),), and phase, (D // 2,). Of an odd D the last weight is alone and
    shrinks.
    """

    def __call__(self, rows: Tensor) -> Tensor:
        """A x: one turn of each row."""
        rate, phase = self.tensors
        return _turn(rows, rate, phase)

    def change(self, rows: Tensor) -> Tensor:
        """A x - x."""
        return self(rows) - rows

    def transpose(self, rows: Tensor) -> Tensor:
        """A' x: the turn back, with the same shrinking."""
        rate, phase = self.tensors
        return _turn(rows, rate, -phase)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """-exp(rate) sum_m errors_m . A rows_m by the rate; the same turned by 90 degrees by the
        phase."""
        rate, phase = self.tensors
        half, turned = len(phase), self(rows)
        each = (errors * turned).sum(0)
        along = each[:half] + each[half : 2 * half]
        across = (errors[:, half : 2 * half] * turned[:, :half]).sum(0)
        across -= (errors[:, :half] * turned[:, half : 2 * half]).sum(0)
        return -rate.exp() * torch.cat([along, each[2 * half :]]), across

    def squared(self) -> RotationPower:
        """Twice the decay, twice the angle."""
        rate, phase = self.tensors
        return RotationPower(rate + math.log(2), 2 * phase)


class Rotation(Transition):
    """A = diag(exp(-exp(rate) + i phase)) on D real numbers taken in pairs.

    It can neither grow nor be the identity, and always starts with the memory of `paces`.

    Args:
        size: D.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.rate = nn.Parameter(torch.empty(size - size // 2))
        self.phase = nn.Parameter(torch.empty(size // 2))
        self.spread(100)

    @torch.no_grad()
    def spread(self, horizon: float) -> None:
        """Starts with the time constants and phases of `paces`."""
        constants, phases = paces(len(self.rate), horizon)
        self.rate.copy_(-constants.log())
        self.phase.copy_(phases[: len(self.phase)])

    def forward(self, theta: Tensor) -> Tensor:
        """One turn."""
        return _turn(theta, self.rate, self.phase)

    def transpose(self, rows: Tensor) -> Tensor:
        """The turn back."""
        return _turn(rows, self.rate, -self.phase)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """By the rate and by the phase."""
        return self.power().gradients(errors, rows)

    def power(self) -> RotationPower:
        """A itself."""
        return RotationPower(self.rate, self.phase)

    @property
    def decays(self) -> bool:
        """No: a rate of 0 is a time constant of one step."""
        return False

    @property
    def closed(self) -> bool:
        """Yes."""
        return True

    def lags(self, columns: Tensor, count: int) -> Tensor:
        """A^k x, k = 0 .. count - 1, by its formula: exp(-k exp(rate)) and the angle k phase."""
        k = torch.arange(count, dtype=columns.dtype, device=columns.device)[:, None, None]
        shrunk = torch.exp(-k * self.rate.exp())
        return _turned(columns, shrunk, k * self.phase)

    @property
    def reach(self) -> float:
        """1: each pair is an eigenvalue of its own."""
        return 1.0

    @property
    def flops(self) -> int:
        """3 D."""
        return 3 * self.size

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """max exp(-exp(rate))."""
        return float(torch.exp(-self.rate.exp()).max())


def modes(size: int, count: int) -> Rotation:
    """The transition of `count` directions for a root of `size` weights."""
    return Rotation(count)


def _turn(rows: Tensor, rate: Tensor, phase: Tensor) -> Tensor:
    return _turned(rows, torch.exp(-rate.exp()), phase)


def _turned(rows: Tensor, shrunk: Tensor, phase: Tensor) -> Tensor:
    """Rows (..., D) turned by `phase` (..., D // 2) and scaled by `shrunk` (..., ceil(D / 2))."""
    half = phase.shape[-1]
    a, b, alone = rows[..., :half], rows[..., half : 2 * half], rows[..., 2 * half :]
    paired = shrunk[..., :half]
    cos, sin = paired * phase.cos(), paired * phase.sin()
    turned = [cos * a - sin * b, sin * a + cos * b]
    return torch.cat([*turned, shrunk[..., half:] * alone] if alone.shape[-1] else turned, -1)
