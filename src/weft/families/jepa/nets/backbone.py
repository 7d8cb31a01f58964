"""Encoders of a frame: the published menet5 and its alternatives."""

# N frames of a batch (T B), C channels, S pixels along a side, D code

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.jepa.nets.conv import Convolution, PatchedConv
from weft.families.jepa.nets.norm import run
from weft.families.jepa.nets.resnet import WIDTHS, resnet18
from weft.families.jepa.nets.trunk import trunk
from weft.families.jepa.options.sections import ModelConfig
from weft.nn.dense import Dense
from weft.nn.layout import channels_last, pixels_last
from weft.nn.precision import widened


@dataclass(frozen=True)
class Backbone:
    """A network from images (N, C, S, S) to codes, and the shape of its codes.

    Attributes:
        net: the network.
        dim: D.
        map: (channels, height, width) if a code is a flattened feature map, else None.
    """

    net: nn.Sequential
    dim: int
    map: tuple[int, int, int] | None = None


class FlattenPixels(nn.Module):
    """Maps (N, C, H, W) to (N, H W C), without a copy for tensors in channels-last memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Flattens all dimensions except the batch; channels vary fastest."""
        return x.permute(0, 2, 3, 1).flatten(1)


def stack(widths: list[int]) -> nn.Sequential:
    """Linear, BN and ReLU between successive widths, and a last Linear without bias."""
    layers = [
        layer
        for before, after in pairwise(widths[:-1])
        for layer in (Dense(before, after), nn.BatchNorm1d(after), nn.ReLU())
    ]
    return nn.Sequential(*layers, Dense(widths[-2], widths[-1], bias=False))


def widths_of(text: str) -> list[int]:
    """The numbers in `512-256`."""
    return [int(width) for width in text.split("-")]


def build_backbone(config: ModelConfig, channels: int, size: int) -> Backbone:
    """The encoder that `config.arch` names, with `config.backbone_mlp` appended.

    Args:
        config: section `model`.
        channels: C of the encoder's input.
        size: S.
    Raises:
        ConfigError: if the images are too small, or D does not fit the architecture.
    """
    backbone = _BUILDERS[config.arch](config, channels, size)
    if config.backbone_mlp is None:
        return backbone
    widths = [backbone.dim, *widths_of(config.backbone_mlp)]
    return Backbone(nn.Sequential(*backbone.net, *stack(widths)), widths[-1])


def _menet5(config: ModelConfig, channels: int, size: int) -> Backbone:
    """Three convolutions, each followed by ReLU and then BN; 0.38 M weights at w = 2, D = 512."""
    w, side = config.backbone_width_factor, (size + 3) // 4 // 2
    _require(side > 0, config, "images of at least 5 pixels")
    net = nn.Sequential(
        PatchedConv(channels, 16 * w, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.BatchNorm2d(16 * w),
        PatchedConv(16 * w, 32 * w, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.BatchNorm2d(32 * w),
        Convolution(32 * w, 32 * w, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(32 * w),
        nn.AvgPool2d(2),
        FlattenPixels(),
        Dense(32 * w * side**2, config.embedding_size),
    )
    return Backbone(net, config.embedding_size)


def _resnet18(config: ModelConfig, channels: int, size: int) -> Backbone:
    return Backbone(resnet18(channels), WIDTHS[-1])


def _resnet18_small(config: ModelConfig, channels: int, size: int) -> Backbone:
    """Keeps positions of small objects; replaces the original's resnet18ID, which is broken."""
    return Backbone(resnet18(channels, small=True), WIDTHS[-1])


def _lenet5(config: ModelConfig, channels: int, size: int) -> Backbone:
    """LeCun et al. 1998 with BN, ReLU and max pooling; D = 128 at any `embedding_size`."""
    side = ((size - 4) // 2 - 4) // 2
    _require(side > 0, config, "images of at least 16 pixels")
    net = nn.Sequential(
        PatchedConv(channels, 6, 5),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        PatchedConv(6, 16, 5),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        FlattenPixels(),
        Dense(16 * side**2, 128),
        nn.ReLU(),
        Dense(128, 128),
    )
    return Backbone(net, 128)


def _canonical(config: ModelConfig, channels: int, size: int) -> Backbone:
    """The convolutions of deep Q-learning, pooled to 64 channels x sqrt(D / 64) squared."""
    side = isqrt(config.embedding_size // 64)
    _require(side > 0 and 64 * side**2 == config.embedding_size, config,
             "an `embedding_size` of 64 times a square: 64, 256, 576, …")  # fmt: skip
    _require(size >= 18, config, "images of at least 18 pixels")
    net = nn.Sequential(
        PatchedConv(channels, 32, 4, stride=2),
        nn.ReLU(),
        PatchedConv(32, 64, 4, stride=2),
        nn.ReLU(),
        PatchedConv(64, 64, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(side),
        nn.Flatten(),
    )
    return Backbone(net, config.embedding_size, (64, side, side))


def _mlp(config: ModelConfig, channels: int, size: int) -> Backbone:
    dim = config.embedding_size
    net = nn.Sequential(nn.Flatten(), Dense(channels * size**2, dim), nn.ReLU(), Dense(dim, dim))
    return Backbone(net, dim)


def _pixel(config: ModelConfig, channels: int, size: int) -> Backbone:
    """Four convolutions at full resolution, each with ReLU and BN, pooled to 32 x 4 x 4."""
    _require(size >= 4, config, "images of at least 4 pixels")
    net, before = nn.Sequential(), channels
    for kernel, after in ((3, 16), (5, 32), (7, 32), (7, 32)):
        net.extend([nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU(),
                    nn.BatchNorm2d(after)])  # fmt: skip
        before = after
    net.extend([nn.AdaptiveAvgPool2d(4), nn.Flatten()])
    return Backbone(net, 512, (32, 4, 4))


def _identity(config: ModelConfig, channels: int, size: int) -> Backbone:
    """The pixels themselves."""
    return Backbone(nn.Sequential(nn.Flatten()), channels * size**2, (channels, size, size))


_BUILDERS = {
    "menet5": _menet5,
    "resnet18": _resnet18,
    "resnet18ID": _resnet18_small,
    "lenet5": _lenet5,
    "canonical": _canonical,
    "mlp": _mlp,
    "pixel": _pixel,
    "id": _identity,
}


def _require(fits: bool, config: ModelConfig, expected: str) -> None:
    if not fits:
        raise ConfigError(f"`{config.arch}` does not fit", where="model.arch", expected=expected)


class Encoder(nn.Module):
    """From all frames of a batch of sequences to codes, in one pass.

    Args:
        config: section `model`.
        channels: C of a frame.
        size: S.
    Attributes:
        dim: D.
        map: as of `Backbone`.
    """

    def __init__(self, config: ModelConfig, channels: int, size: int) -> None:
        super().__init__()
        self.frame_difference, self.channels_last = config.frame_difference, config.channels_last
        backbone = build_backbone(config, channels * (1 + config.frame_difference), size)
        self.net, self.dim, self.map = backbone.net, backbone.dim, backbone.map
        if config.channels_last:
            channels_last(self)

    def forward(self, image: Tensor) -> Tensor:
        """Codes (T, B, D), float32, of images (B, T, C, S, S)."""
        frames = self.frames(image)
        images = frames.flatten(0, 1)
        maps, rest = trunk(self.net, pixels_last(images) if self.channels_last else images)
        codes = run(rest, maps)
        return widened(codes).unflatten(0, frames.shape[:2])

    def frames(self, image: Tensor) -> Tensor:
        """The network's input for images (B, T, C, S, S), time first."""
        frames = image.transpose(0, 1)
        if not self.frame_difference:
            return frames
        return torch.cat((frames, difference(frames)), dim=2)


def difference(frames: Tensor) -> Tensor:
    """o_t - o_(t-1) for frames (T, …), zero at t = 0."""
    return torch.cat((torch.zeros_like(frames[:1]), frames[1:] - frames[:-1]))
