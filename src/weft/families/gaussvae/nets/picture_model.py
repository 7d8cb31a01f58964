"""The model of arch=image: pictures to latents and back, initialised as principal components."""

# N pictures, S splats, L latents

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.nets.picture_encoder import PictureEncoder
from weft.families.gaussvae.nets.pixel_decoder import PixelDecoder
from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.nets.splat_decoder import SplatDecoder
from weft.families.gaussvae.splats.rasterise import render
from weft.nn.precision import widened

_MOST_NUMBERS = 64 * 64 * 3
LOG_VARIANCE = (-12.0, 6.0)
LOG_VARIANCE_START = -3.0
"""Log variances are the encoder's output, clamped to the bounds, plus this start."""


class Posterior(NamedTuple):
    """The posterior of latents.

    Attributes:
        mean: (N, L).
        log_variance: (N, L), or None if latents are not sampled.
    """

    mean: Tensor
    log_variance: Tensor | None


class PictureModel(nn.Module):
    """Encoder, decoder, and the principal components that both are initialised with.

    Args:
        encoder: from pictures (N, C, H, W) to (N, L) or (N, 2 L).
        decoder: from latents to splats or to pictures.
        form: of the renderer.
    """

    def __init__(
        self, encoder: PictureEncoder, decoder: SplatDecoder | PixelDecoder, form: str = "auto"
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.form = encoder, decoder, form

    @property
    def principal(self) -> Principal:
        """The principal components that the encoder reads."""
        return self.encoder.principal

    def brightness(self, images: Tensor) -> Tensor:
        """Pictures of bytes as brightness in [0, 1], in the dtype of the model."""
        return images.to(self.principal.mean.dtype) / 255

    def encode(self, images: Tensor) -> Posterior:
        """The posterior of the latents of pictures (N, C, H, W) in [0, 1]."""
        out = widened(self.encoder(images))
        if not self.encoder.samples:
            return Posterior(out, None)
        mean, raw = out.chunk(2, -1)
        return Posterior(mean, raw.clamp(*LOG_VARIANCE) + LOG_VARIANCE_START)

    def splats(self, z: Tensor) -> Tensor:
        """Splats (N, S, 8) in the layout `logcov` of latents (N, L).

        Raises:
            TypeError: if the decoder gives pixels and not splats.
        """
        if not isinstance(self.decoder, SplatDecoder):
            raise TypeError("a decoder of pixels has no splats")
        splats: Tensor = self.decoder(z)
        return splats

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (N, C, H, W) of latents (N, L), float32 and not clamped."""
        if isinstance(self.decoder, SplatDecoder):
            return render(self.splats(z), *self.decoder.size, form=self.form)
        pictures: Tensor = self.decoder(z)
        return pictures

    def forward(self, images: Tensor) -> Tensor:
        """Reconstructions of pictures (N, C, H, W), decoded from the means."""
        return self.decode(self.encode(images).mean)

    @torch.no_grad()
    def start_from(self, images: Tensor, *, linear: bool = True) -> None:
        """Fits the components to training pictures (M, C, H, W), and initialises the nets.

        Args:
            images: uint8, or in [0, 1].
            linear: whether the decoder is initialised with the components; else at random.
        """
        self.principal.fit(images)
        if linear:
            self.decoder.start_from(self.principal)


def build_picture_model(config: Config, shape: tuple[int, ...]) -> PictureModel:
    """The model of a config for pictures of `shape` (C, H, W), before `start_from`.

    Raises:
        ConfigError: if pictures have fewer numbers than components, or too many.
    """
    options = config.picture
    channels, height, wide = shape
    size = math.prod(shape)
    if options.components > size:
        raise ConfigError(
            f"pictures of {size} numbers have no {options.components} principal components",
            where="picture.components",
            expected=f"at most {size}",
        )
    if size > _MOST_NUMBERS:
        raise ConfigError(
            f"principal components of pictures of {height} x {wide} pixels are out of reach",
            where="arch=image",
            expected=f"pictures of at most {_MOST_NUMBERS:,} numbers, such as 64 x 64 in colour",
        )
    encoder = PictureEncoder(
        Principal((channels, height, wide), options.components),
        config.latent_dim,
        options.width,
        dropout=options.dropout,
        samples=config.samples,
    )
    decoder: SplatDecoder | PixelDecoder
    if options.decoder == "splats":
        side = math.isqrt(options.splats)
        decoder = SplatDecoder(
            (height, wide), (side, side), config.latent_dim, options.width, shapes=options.shapes
        )
    else:
        decoder = PixelDecoder((channels, height, wide), config.latent_dim, options.width)
    return PictureModel(encoder, decoder, config.render.form)
