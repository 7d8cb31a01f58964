"""A small code of pictures that needs no training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TILE = (4, 6)


class Cosines(nn.Module):
    """The first L numbers of a cosine transform of tiles, with a given deviation each."""

    basis: Tensor

    def __init__(self, latent_dim: int = 12, deviation: float = 0.1) -> None:
        super().__init__()
        size = 3 * TILE[0] * TILE[1]
        place, order = torch.arange(size) + 0.5, torch.arange(latent_dim)[:, None]
        basis = torch.cos(torch.pi * place * order / size) * (2 / size) ** 0.5
        basis[0] /= 2**0.5
        self.register_buffer("basis", basis)
        self.deviation = deviation

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance (N, L)."""
        mean = images.flatten(1) @ self.basis.t()
        return mean, torch.full_like(mean, self.deviation).log() * 2

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (N, 3, 4, 6)."""
        return (z @ self.basis).view(-1, 3, *TILE)


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Smooth pictures (N, 3, H, W), uint8: waves of a random direction each."""
    draws = torch.Generator().manual_seed(seed)
    slope, phase = torch.randn(2, count, 3, 1, 1, generator=draws), torch.rand(
        count, 3, 1, 1, generator=draws
    )  # fmt: skip
    y, x = torch.meshgrid(*(torch.arange(n) / 8 for n in size), indexing="ij")
    waves = torch.sin(slope[0] * x + slope[1] * y + 6 * phase)
    return (127.5 + 100 * waves).round().byte()
