"""The autoencoder of splat sets: statistics of the data, encoder, decoder."""

# B batch, N splats, L latents

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.nets.keras import initialised
from weft.families.gaussvae.nets.line import ConvBlock, LineDecoder, LineEncoder, ResidualBlock
from weft.families.gaussvae.nets.plane import PlaneDecoder, PlaneEncoder
from weft.families.gaussvae.options.sizes import COLUMNS, Sizes, sizes
from weft.families.gaussvae.splats.curves import path


class SplatVAE(nn.Module):
    """Encoder and decoder between splats and latents, with the statistics for z-scores.

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


def build_model(config: Config, splats: int, cells: tuple[int, int] | None = None) -> SplatVAE:
    """The model of a config for sets of `splats` splats, without statistics of data.

    Args:
        config: of the run.
        splats: N.
        cells: (rows, columns) of the grid that splats are anchored to, in Hilbert's order.
    Raises:
        ConfigError: if sizes do not divide evenly; the error names the option.
    """
    plan = sizes(config, splats)
    encoder, decoder = (
        _in_plane(config, plan, cells) if config.arch == "grid2d" else _on_line(config, plan)
    )
    model = SplatVAE(encoder, decoder, splats if config.data.statistics == "index" else 1)
    initialised(model)
    return model


def _on_line(config: Config, plan: Sizes) -> tuple[nn.Module, nn.Module]:
    block = ResidualBlock if config.arch == "resnet" else ConvBlock
    return LineEncoder(plan, block, config.pool, config.net.queries), LineDecoder(plan, block)


def _in_plane(
    config: Config, plan: Sizes, cells: tuple[int, int] | None
) -> tuple[nn.Module, nn.Module]:
    if cells is None or config.data.order != "kept":
        raise ConfigError(
            "arch=grid2d needs splats that lie on a grid, in the order of its cells",
            where="arch, data.dataset, data.order",
            expected="splats of an anchored fit, and data.order=kept",
            hint="`weft data fit --mode grid` makes them",
        )
    pools = (math.prod(plan.encoder.scales), math.prod(plan.decoder.scales))
    if any(side % pool for side in cells for pool in pools):
        raise ConfigError(
            f"a grid of {cells[0]} x {cells[1]} cells is no multiple of {max(pools)}, which its "
            "sides are divided by",
            where="net.encoder_pool_sizes, net.decoder_upsample_sizes",
            expected="factors whose product divides both sides",
        )
    way = path(*cells)
    return PlaneEncoder(plan, way, config.pool, config.net.queries), PlaneDecoder(plan, way)
