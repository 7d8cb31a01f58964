"""The network: one hidden layer over a number."""

# B points, H hidden units

from __future__ import annotations

import torch
from torch import Tensor, nn

BENDS = {"tanh": torch.tanh, "relu": torch.relu}


class Curve(nn.Module):
    """A curve as a sum of bent lines: y = c + sum over h of v_h f(w_h x + b_h).

    Args:
        width: hidden units H.
        activation: f, `tanh` or `relu`.
    """

    def __init__(self, width: int, activation: str = "tanh") -> None:
        super().__init__()
        self.lines, self.mix = nn.Linear(1, width), nn.Linear(width, 1)
        self.bend = BENDS[activation]
        with torch.no_grad():  # Lines that differ from the start, over all of [-1, 1].
            self.lines.weight.normal_(std=4.0)
            self.lines.bias.normal_(std=2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Heights of the curve.

        Args:
            x: places, (B, 1).
        Returns: (B, 1).
        """
        height: Tensor = self.mix(self.bend(self.lines(x)))
        return height
