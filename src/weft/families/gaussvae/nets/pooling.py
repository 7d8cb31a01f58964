"""Pools features over positions: by their mean, by attention, or not at all."""

# B batch, C channels, T positions, K queries

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MeanPool(nn.Module):
    """The mean over positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C)."""
        # The slope of a mean lies as its argument does, (B, T, C) here as in the nets' memory: in
        # another order it costs the layer below three times as much.
        return x.transpose(1, 2).mean(1)


class AttentionPool(nn.Module):
    """Attention of K learned queries; keys are features plus learned codes of positions.

    Args:
        channels: C.
        positions: T.
        queries: K.
    """

    def __init__(self, channels: int, positions: int, queries: int) -> None:
        super().__init__()
        self.features = queries * channels
        self.place = nn.Parameter(torch.randn(positions, channels) * channels**-0.5)
        self.queries = nn.Parameter(torch.randn(queries, channels))
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, K C)."""
        features = x.transpose(1, 2) + self.place
        queries = self.queries.expand(x.shape[0], -1, -1)
        # With a dimension of one head: ONNX has no attention without.
        asked, keys = queries.unsqueeze(1), self.key(features).unsqueeze(1)
        found = F.scaled_dot_product_attention(asked, keys, self.value(features).unsqueeze(1))
        return found.flatten(1)


class AllPositions(nn.Module):
    """All features, so that the next layer has weights for each position."""

    def __init__(self, channels: int, positions: int) -> None:
        super().__init__()
        self.features = channels * positions

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C T)."""
        return x.flatten(1)


Pool = MeanPool | AttentionPool | AllPositions


def pooling(kind: str, channels: int, positions: int, queries: int) -> Pool:
    """The pool called `kind`: gap, flatten or attn."""
    if kind == "gap":
        return MeanPool(channels)
    if kind == "attn":
        return AttentionPool(channels, positions, queries)
    return AllPositions(channels, positions)
