"""Splat sets in memory: batches of raw splats and their pictures, and what is known of them."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weft.data.source import TensorSource
from weft.families.gaussvae.options.sizes import COLUMNS


@dataclass(frozen=True)
class Meaning:
    """What the numbers of a splat set mean, beside their layout.

    Attributes:
        size: (height, width) of the pictures, in whose pixels shapes are counted.
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
        fields: `splats`, float32 (M, N, 8); `image`, uint8 (M, 3, H, W), where pictures are kept.
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


def statistics(splats: Tensor, each: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation that z-scores take.

    Args:
        splats: of the training pictures, (M, N, 8).
        each: `column`: over all splats; `index`: of each place in the order.
    Returns: each (1, 8) or (N, 8), float32; what never changes has deviation 1.
    """
    wide = splats.double()
    rows = wide if each == "index" else wide.reshape(-1, 1, COLUMNS)
    mean, std = rows.mean(0), rows.std(0, unbiased=False)
    std = torch.where(std > 1e-8 * (1 + mean.abs()), std, torch.ones_like(std))
    return mean.float(), std.float()
