"""Sizes of both nets for a number of splats, with defaults for unset options."""

from __future__ import annotations

import math
from dataclasses import dataclass

from weft.errors import ConfigError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.splats.geometry import COLUMNS as COLUMNS

_ENCODERS = {
    "conv1d": ((32, 64, 128), (0.1, 0.15, 0.2), 0.2),
    "resnet": ((32, 64, 128, 256, 256), (0.0,) * 5, 0.0),
    "grid2d": ((32, 64, 128), (0.0,) * 3, 0.0),
}
"""Filters, dropout of each block, dropout of the dense layer."""
_DECODERS = {"conv1d": (64, 32, 16), "resnet": (256, 128, 64, 32, 16), "grid2d": (128, 64, 32)}
_BOTTOM = {"conv1d": 16, "resnet": 512, "grid2d": 128}
"""Architecture -> channels into which the last dense layer is reshaped."""
_TAPS = {"conv1d": 5, "resnet": 5, "grid2d": 3}


@dataclass(frozen=True)
class Half:
    """Blocks of an encoder or a decoder, one entry each.

    Attributes:
        filters: channels.
        taps: of a convolution.
        scales: pooling or repetition after it; 1 for none.
        dropout: share dropped.
    """

    filters: tuple[int, ...]
    taps: tuple[int, ...]
    scales: tuple[int, ...]
    dropout: tuple[float, ...]


@dataclass(frozen=True)
class Sizes:
    """Both nets.

    Attributes:
        splats: N, the length of the nets' input and output.
        latent: L.
        encoder: its blocks.
        positions: length after the encoder's blocks.
        dense: units before the heads.
        dense_dropout: dropout probability of these units.
        decoder: its blocks.
        units: of the decoder's dense layers.
        start: positions and channels into which the last dense layer is reshaped.
    """

    splats: int
    latent: int
    encoder: Half
    positions: int
    dense: int
    dense_dropout: float
    decoder: Half
    units: tuple[int, ...]
    start: tuple[int, int]


def sizes(config: Config, splats: int) -> Sizes:
    """The sizes for sets of `splats` splats.

    Pools and repeats are along the order of the splats; of grid2d, along both sides of the grid.

    Raises:
        ConfigError: if the numbers do not divide evenly; the error names the option.
    """
    net, encoder, decoder = config.net, _encoder(config), _decoder(config)
    sides = 2 if config.arch == "grid2d" else 1
    left, grown = math.prod(encoder.scales) ** sides, math.prod(decoder.scales) ** sides
    if splats < left:
        raise ConfigError(
            f"pools of {left} in all leave nothing of {splats} splats",
            where="net.encoder_pool_sizes, arch",
            expected=f"at most {splats} in all",
        )
    start = net.decoder_reshape_target or _start(config, splats // grown)
    if start[0] * grown != splats:
        raise ConfigError(
            f"{start[0]} positions repeated {grown} times are not the {splats} splats of the data",
            where="net.decoder_reshape_target, net.decoder_upsample_sizes",
            expected=f"{splats} in the end"
            + ("" if splats % grown else f", {splats // grown} positions here"),
        )
    units = net.decoder_dense_units or (net.encoder_dense_units, math.prod(start))
    if units[-1] != math.prod(start):
        raise ConfigError(
            f"the last dense layer has {units[-1]} units, and they become {start[0]} x {start[1]}",
            where="net.decoder_dense_units, net.decoder_reshape_target",
            expected=f"{math.prod(start)} units, the last",
        )
    dropped = net.encoder_dense_dropout
    return Sizes(
        splats,
        config.latent_dim,
        encoder,
        _left(splats, encoder.scales) if sides == 1 else splats // left,
        net.encoder_dense_units,
        _ENCODERS[config.arch][2] if dropped is None else dropped,
        decoder,
        units,
        start,
    )


def _encoder(config: Config) -> Half:
    net = config.net
    filters, dropout, _ = _ENCODERS[config.arch]
    given = net.encoder_filters or filters
    pools = net.encoder_pool_sizes or (*(2,) * (len(given) - 1), None)
    return Half(
        given,
        net.encoder_kernel_sizes or (_TAPS[config.arch],) * len(given),
        tuple(size or 1 for size in pools),
        net.encoder_dropout_rates
        or (dropout if len(given) == len(dropout) else (0.0,) * len(given)),
    )


def _decoder(config: Config) -> Half:
    net = config.net
    given = net.decoder_filters or _DECODERS[config.arch]
    repeats = net.decoder_upsample_sizes or (*(2,) * (len(given) - 1), None)
    return Half(
        given,
        net.decoder_kernel_sizes or (_TAPS[config.arch],) * len(given),
        tuple(size or 1 for size in repeats),
        net.decoder_dropout_rates or (0.0,) * len(given),
    )


def _start(config: Config, positions: int) -> tuple[int, int]:
    """Default positions and channels: those of the architecture, or those that fit the units."""
    units = config.net.decoder_dense_units
    if units and positions and units[-1] % positions == 0:
        return positions, units[-1] // positions
    return positions, _BOTTOM[config.arch]


def _left(length: int, scales: tuple[int, ...]) -> int:
    """Positions that remain of `length` after all pools, each of which rounds down."""
    for scale in scales:
        length //= scale
    return length
