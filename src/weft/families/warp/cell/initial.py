"""The initial weights of a sequence: a learnt vector, or a network's output for its first datum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.warp.cell.activation import activation
from weft.families.warp.cell.root import Root


class Initial(nn.Module, ABC):
    """Computes theta_0.

    Attributes:
        shared: whether all sequences have the same initial weights.
    """

    shared: bool

    @abstractmethod
    def forward(self, first: Tensor) -> Tensor:
        """theta_0 of sequences whose first data are `first` (N, d): (D,) if shared, else (N, D)."""


class FreeInitial(Initial):
    """A learnt vector, initialised as the weights of a new root."""

    shared = True

    def __init__(self, root: Root) -> None:
        super().__init__()
        self.theta = nn.Parameter(root.fresh())

    def forward(self, first: Tensor) -> Tensor:
        """The vector, (D,), for any data."""
        return self.theta


class GradualInitial(Initial):
    """A network phi: R^d -> R^D with hidden widths evenly spaced between d and D.

    Args:
        channels: d.
        size: D.
        hidden_layers: 0, 1 or 2; widths int(d/2 + D/2), or int(2d/3 + D/3) and int(d/3 + 2D/3).
        nonlinearity: name of the activation between layers.
        bias: whether the maps have biases; a linear phi without is odd, phi(-x) = -phi(x).
    Raises:
        ConfigError: if `hidden_layers` is another number.
    """

    shared = False

    def __init__(
        self,
        channels: int,
        size: int,
        hidden_layers: int,
        nonlinearity: str,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if hidden_layers not in (0, 1, 2):
            raise ConfigError(
                f"the initial network cannot have {hidden_layers} hidden layers",
                where="init_state_layers",
                expected="null, 0, 1 or 2",
            )
        parts = hidden_layers + 1
        hidden = [((parts - i) * channels + i * size) // parts for i in range(1, parts)]
        widths = [channels, *hidden, size]
        self.activation = activation(nonlinearity)
        self.maps = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairwise(widths))

    def forward(self, first: Tensor) -> Tensor:
        """phi(x_0), (N, D)."""
        h = self.maps[0](first)
        for layer in self.maps[1:]:
            h = layer(self.activation(h))
        assert isinstance(h, torch.Tensor)
        return h
