"""Splat sets in memory: batches of raw splats and pictures, and the meaning of their numbers."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weft.data.source import TensorSource


@dataclass(frozen=True)
class Meaning:
    """The meaning of the numbers of a splat set, apart from their layout.

    Attributes:
        size: (height, width) of the pictures, whose pixels are the unit of shapes.
        sampling: `centre` or `corner`.
        blend: `normalised` or `sum`.
        cells: (rows, columns) of the grid that splats are anchored to, or None.
    """

    size: tuple[int, int]
    sampling: str = "centre"
    blend: str = "normalised"
    cells: tuple[int, int] | None = None


@dataclass(frozen=True)
class SplatSource(TensorSource):
    """A split of a splat set.

    Args:
        fields: `splats`, float32 (M, N, 8); `image`, uint8 (M, 3, H, W), if pictures are stored.
        batch_size: items of a training batch.
        meaning: of the numbers.
        centre: mean of the training splats of each place in the order, (N, 8).
    """

    meaning: Meaning
    centre: Tensor

    def to(self, device: torch.device) -> SplatSource:
        """The same items on `device`."""
        moved = {name: tensor.to(device) for name, tensor in self.fields.items()}
        return replace(self, fields=moved, centre=self.centre.to(device))
