"""The autoencoder of splat sets: statistics of the data, encoder, decoder."""

# B batch, N splats, L latents

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.families.gaussvae.config import Config
from weft.families.gaussvae.nets.keras import initialised
from weft.families.gaussvae.nets.line import ConvBlock, LineDecoder, LineEncoder, ResidualBlock
from weft.families.gaussvae.options.sizes import COLUMNS, sizes


class SplatVAE(nn.Module):
    """Encoder and decoder between splats and latents, with the statistics that z-scores take.

    Args:
        encoder: standardised splats (B, N, 8) -> mean and log variance, each (B, L).
        decoder: latents (B, L) -> standardised splats (B, N, 8).
        rows: 1 for statistics of the columns, N for those of each place in the order.

    Attributes:
        mean: of the training splats, (rows, 8).
        std: their standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, rows: int = 1) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("mean", torch.zeros(rows, COLUMNS))
        self.register_buffer("std", torch.ones(rows, COLUMNS))

    def standardised(self, splats: Tensor) -> Tensor:
        """Raw splats (B, N, 8) as z-scores."""
        return (splats - self.mean) / self.std

    def raw(self, scores: Tensor) -> Tensor:
        """z-scores (B, N, 8) as raw splats."""
        return scores * self.std + self.mean

    def encode(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log variance, each (B, L), of z-scores (B, N, 8)."""
        mean, log_var = self.encoder(scores)
        return mean, log_var

    def decode(self, z: Tensor) -> Tensor:
        """z-scores (B, N, 8) of latents (B, L)."""
        scores: Tensor = self.decoder(z)
        return scores


def build(config: Config, splats: int) -> SplatVAE:
    """The model of a config for sets of `splats` splats; its statistics are those of no data.

    Raises:
        ConfigError: sizes do not come out even, naming the option.
    """
    rows = splats if config.data.statistics == "index" else 1
    plan = sizes(config, splats)
    block = ResidualBlock if config.arch == "resnet" else ConvBlock
    encoder: nn.Module = LineEncoder(plan, block, config.pool, config.net.queries)
    model = SplatVAE(encoder, LineDecoder(plan, block), rows)
    initialised(model)
    return model
