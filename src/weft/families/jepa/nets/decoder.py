"""Decoders of codes to pixels, in which no upsampled image is convolved."""

# N codes, F features of a code, C channels, S pixels along a side

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.errors import ConfigError
from weft.families.jepa.nets.norm import run
from weft.families.jepa.nets.upsampling import UpsampledConv, UpsampledResize
from weft.families.jepa.options.sections import ModelConfig
from weft.nn.dense import Dense
from weft.nn.layout import channels_last
from weft.nn.precision import widened


class MenetDecoder(nn.Module):
    """The mirror of menet5: 3 x 3 -> 6 x 6 -> 18 x 18 -> 54 x 54 pixels, then bilinear to S.

    Args:
        features: F.
        channels: C.
        size: S.
        width: w, as of menet5.
    """

    def __init__(self, features: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.wide = 32 * width
        self.expand = Dense(features, self.wide * 9)
        self.net = nn.Sequential(
            nn.ReLU(),
            UpsampledConv(32 * width, 32 * width, scale=2),
            nn.ReLU(),
            nn.BatchNorm2d(32 * width),
            UpsampledConv(32 * width, 16 * width, scale=3),
            nn.ReLU(),
            nn.BatchNorm2d(16 * width),
            UpsampledResize(16 * width, channels, scale=3, before=18, after=size),
        )

    def forward(self, code: Tensor, frames: int = 1) -> Tensor:
        """Images (N, C, S, S) of codes (N, F); in training each of T = `frames` parts of the batch
        is normalised by its own statistics."""
        x = self.expand(code).view(-1, 3, 3, self.wide).permute(0, 3, 1, 2)
        return run(self.net, x, frames=frames)


class ConvDecoder(nn.Module):
    """Two transposed convolutions from S/4 x S/4, bounded by 20 tanh.

    Args:
        features: F.
        channels: C.
        size: S, a multiple of 4.
    """

    def __init__(self, features: int, channels: int, size: int) -> None:
        super().__init__()
        side = size // 4
        self.net = nn.Sequential(
            Dense(features, 64 * side**2),
            nn.Unflatten(1, (64, side, side)),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1),
        )

    def forward(self, code: Tensor, frames: int = 1) -> Tensor:
        """Images (N, C, S, S) of codes (N, F); `frames` has no effect here."""
        with torch.autocast("cpu", enabled=False):  # For the same reason as `UpsampledConv`.
            pixels: Tensor = self.net(widened(code))
            return 20 * pixels.tanh()


class PublishedDecoder(nn.Module):
    """The original's decoder of a JEPA's codes: maps of 4 x 4, 9, 19 and 39 pixels, resized to S.

    Args:
        channels: C.
        size: S.
    """

    features = 512

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        for before, after in ((32, 16), (16, 8), (8, 8)):
            layers += [nn.ConvTranspose2d(before, after, 3, stride=2), nn.ReLU(),
                       nn.BatchNorm2d(after)]  # fmt: skip
        self.net = nn.Sequential(*layers, nn.Conv2d(8, channels, 3, padding=1))

    def forward(self, code: Tensor, frames: int = 1) -> Tensor:
        """Images (N, C, S, S) of codes (N, 512); in training each of T = `frames` parts of the
        batch is normalised by its own statistics."""
        with torch.autocast("cpu", enabled=False):  # For the same reason as `UpsampledConv`.
            x = run(self.net, widened(code).unflatten(1, (32, 4, 4)), frames=frames)
            return F.interpolate(x, self.size, mode="bilinear")


def build_decoder(config: ModelConfig, features: int, channels: int, size: int) -> nn.Module:
    """The decoder that goes with `config.arch`, or that of `config.decoder`.

    Args:
        config: section `model`.
        features: F.
        channels: C.
        size: S.
    Raises:
        ConfigError: if codes have another width than the original's decoder needs.
    """
    if config.decoder == "published":
        if features != PublishedDecoder.features:
            raise ConfigError(
                f"the published decoder does not take codes of width {features}",
                where="model.decoder",
                expected=f"a width of {PublishedDecoder.features}, or model.decoder=mirror",
            )
        return PublishedDecoder(channels, size)
    if config.arch != "menet5":
        return ConvDecoder(features, channels, size)
    decoder = MenetDecoder(features, channels, size, config.backbone_width_factor)
    return channels_last(decoder) if config.channels_last else decoder


def decode(decoder: nn.Module, code: Tensor, *, frames: int = 1) -> Tensor:
    """Images (T, B, C, S, S), float32, of codes (T, B, F), all in one pass.

    Args:
        decoder: made by `build_decoder`.
        code: the codes.
        frames: T to normalise each frame by its own statistics, as the original does, or 1.
    """
    pixels: Tensor = decoder(code.flatten(0, 1), frames)
    return widened(pixels).unflatten(0, code.shape[:2])
