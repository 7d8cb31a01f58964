"""Convolutions over time: an embedding before the recurrence and a smoothing after the root."""

# N batch, T steps, d channels

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _pad(x: Tensor, kernel: int, causal: bool) -> Tensor:
    """Repeats the edges of x (N, d, T) so that a convolution keeps T."""
    left = kernel - 1 if causal else kernel // 2
    return F.pad(x, (left, kernel - 1 - left), mode="replicate")


class Embedding(nn.Module):
    """One convolution without bias: theta_0, B and the root see its channels instead of the data.

    Beyond the edges the first and last datum are repeated; padding in front of a shorter sequence
    repeats its first datum too, and thus changes nothing if the convolution is causal.

    Args:
        inputs: d.
        channels: of the embedded signal.
        kernel: taps.
        causal: whether step t sees t - kernel + 1 ... t, instead of a window centred at t.
    """

    def __init__(self, inputs: int, channels: int, kernel: int, causal: bool) -> None:
        super().__init__()
        self.kernel, self.causal = kernel, causal
        self.conv = nn.Conv1d(inputs, channels, kernel, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, d) to (N, T, channels)."""
        signal: Tensor = self.conv(_pad(x.mT, self.kernel, self.causal))
        return signal.mT


class Smoothing(nn.Module):
    """Three taps over time, shared by all raw outputs of the root; starts as the identity.

    Args:
        causal: whether step t sees t - 2 ... t, instead of t - 1 ... t + 1.
    """

    kernel = 3

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        taps = torch.zeros(self.kernel)
        taps[-1 if causal else 1] = 1.0
        self.taps = nn.Parameter(taps)

    def forward(self, raw: Tensor) -> Tensor:
        """(N, T, outputs) to the same shape."""
        windows = _pad(raw.mT, self.kernel, self.causal).unfold(-1, self.kernel, 1)
        return (windows @ self.taps).mT
