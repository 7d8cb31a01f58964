"""Motion of dots: random walks with a preferred direction, stopped by walls."""

# B batch, T frames, K dots, Q steps of a quantile table

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from weft.families.jepa.sets import rooms

_QUANTILES = 4096
_EXACT: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}


@dataclass(frozen=True)
class Walk:
    """The random walk of one dot.

    An episode draws a direction mu ~ U(0, 2 pi). Each step has an angle ~ VonMises(mu,
    concentration) and a length ~ U(0, max_step).

    Attributes:
        max_step: longest step in pixels; 0 keeps the dot in place.
        concentration: of angles around mu; 0 is uniform, inf is exactly mu.
    """

    max_step: float = 4.0
    concentration: float = 0.2


def von_mises_quantiles(concentration: float) -> Tensor:
    """Quantiles i/Q of VonMises(0, concentration), angles in [-pi, pi], (Q + 1,).

    Linear interpolation between them has an error in probability of 1e-7 at a concentration of
    0.2, and of at most 2e-4 at any other, as the last interval on either side spans a whole tail.
    """
    if math.isinf(concentration):
        return torch.zeros(_QUANTILES + 1, dtype=torch.float32, device="cpu")
    angle = torch.linspace(-math.pi, math.pi, 16 * _QUANTILES + 1, **_EXACT)
    density = torch.exp(concentration * (angle.cos() - 1))
    share = torch.cumulative_trapezoid(density)
    share = torch.cat([share.new_zeros(1), share / share[-1]])
    chance = torch.linspace(0, 1, _QUANTILES + 1, **_EXACT)
    right = torch.searchsorted(share, chance).clamp_(1, len(share) - 1)
    part = (chance - share[right - 1]) / (share[right] - share[right - 1])
    return torch.lerp(angle[right - 1], angle[right], part).float()


@dataclass(frozen=True)
class Motion:
    """K walks as tensors on one device, so that all dots of a batch move at once.

    Attributes:
        quantiles: quantiles of each walk's angles relative to its direction, (K, Q + 1).
        max_step: pixels, (K,).
        low, high: the walls, in pixels, for both axes.
        door: width in pixels of the door in a wall between two rooms; 0 if there is no wall.
    """

    quantiles: Tensor
    max_step: Tensor
    low: float
    high: float
    door: float = 0.0

    @staticmethod
    def of(walks: Sequence[Walk], low: float, high: float, door: float = 0.0) -> Motion:
        """The walks of K dots between the walls `low` and `high`."""
        steps = [walk.max_step for walk in walks]
        return Motion(
            torch.stack([von_mises_quantiles(walk.concentration) for walk in walks]),
            torch.tensor(steps, dtype=torch.float32, device="cpu"),
            low,
            high,
            door,
        )

    @staticmethod
    def num_draws(num_frames: int) -> int:
        """Number of uniform random numbers for one dot in an episode of `num_frames` frames."""
        return 3 + 2 * (num_frames - 1)

    def doors(self, draws: Tensor) -> Tensor:
        """Positions of the door's middle along the wall, from uniform numbers `draws`.

        The whole door is between the outer walls.
        """
        reach = (self.high - self.low - self.door) / 2
        return (self.low + self.high) / 2 + reach * (2 * draws - 1)

    def __call__(self, draws: Tensor, door: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Episodes as a function of uniform numbers.

        Args:
            draws: in [0, 1), shape (B, K, 3 + 2 (T - 1)): start x, start y, direction, then an
                angle for each step, then a length for each step.
            door: y of the door's middle, (B,), if there are two rooms.
        Returns: positions (B, T, K, 2) and actions (B, T - 1, K, 2), both (x, y) in pixels, with
            p_(t+1) = clamp(p_t + a_t, low, high): an action may point into a wall.
        """
        num_steps = (draws.shape[-1] - 3) // 2
        start, direction, angle, length = draws.split([2, 1, num_steps, num_steps], dim=-1)
        angle = self._about(angle) + 2 * math.pi * direction
        length = length * self.max_step[:, None]
        actions = torch.stack([angle.cos() * length, angle.sin() * length], dim=-1).transpose(1, 2)
        positions = draws.new_empty(len(draws), num_steps + 1, *actions.shape[2:])
        start = self.low + (self.high - self.low) * start
        positions[:, 0] = start if door is None else rooms.beside(start, self.middle)
        before, *rest = positions.unbind(1)
        for action, after in zip(actions.unbind(1), rest, strict=True):
            if door is None:
                torch.add(before, action, out=after)
                after.clamp_(self.low, self.high)
            else:
                after[:] = self.step(before, action, door)
            before = after
        return positions, actions.contiguous()

    @property
    def middle(self) -> float:
        """x of the wall between two rooms."""
        return (self.low + self.high) / 2

    def step(self, before: Tensor, action: Tensor, door: Tensor | None = None) -> Tensor:
        """Positions of dots at `before` (B, K, 2) after `action` (B, K, 2), all in pixels."""
        after = (before + action).clamp(self.low, self.high)
        if door is None:
            return after
        return rooms.stopped(before, after, door[:, None], self.middle, self.door / 2)

    def _about(self, chance: Tensor) -> Tensor:
        """The angles at the quantiles `chance` (B, K, T - 1), by interpolation."""
        place = chance * _QUANTILES
        left = place.long()
        row = torch.arange(len(self.quantiles), device=chance.device)[:, None]
        index = left + row * (_QUANTILES + 1)
        flat = self.quantiles.flatten()
        return torch.lerp(flat[index], flat[index + 1], place - left)

    def to(self, device: torch.device) -> Motion:
        """The same walks on `device`."""
        return replace(self, quantiles=self.quantiles.to(device), max_step=self.max_step.to(device))
