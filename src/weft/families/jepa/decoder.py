"""Decoders of codes to pixels, in which no upsampled image is convolved."""

# N codes, F features of a code, C channels, S pixels along a side

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.jepa.config import ModelConfig
from weft.families.jepa.dense import Dense, linear, widened


class UpsampledConv(nn.Module):
    """Nearest upsampling by s, then a k x k convolution without bias that keeps the size.

    Upsampling is a transposed convolution of stride s with an s x s box, so both together are
    one with a kernel of s + k - 1 (exact; 4.6 times fewer products at s = 3, k = 5).

    Args:
        channels_in, channels_out: before and after.
        scale: s.
        kernel: k, odd.
    """

    folding: Tensor

    def __init__(self, channels_in: int, channels_out: int, scale: int, kernel: int) -> None:
        super().__init__()
        self.scale, self.kernel = scale, kernel
        # The initial values are those of nn.Conv2d.
        self.weight = nn.Conv2d(channels_in, channels_out, kernel, bias=False).weight
        place, tap = torch.arange(scale + kernel - 1)[:, None], torch.arange(kernel)
        last = place + tap - kernel + 1
        folding = ((last >= 0) & (last < scale)).float()
        self.register_buffer("folding", folding, persistent=False)  # (s + k - 1, k)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, channels_in, H, W) to (N, channels_out, s H, s W)."""
        # In bf16 this gains little on a CPU, and its weight gradient stalls as `conv` describes.
        with torch.autocast("cpu", enabled=False):
            folded = torch.einsum("oiyx,ay,bx->ioab", self.weight, self.folding, self.folding)
            return F.conv_transpose2d(
                widened(x), folded, stride=self.scale, padding=self.kernel // 2
            )


class UpsampledResize(nn.Module):
    """Nearest upsampling by s, a k x k convolution without bias, and bilinear resizing to S.

    All of it is linear: y = sum over taps (a, b) of V_a (W_ab x) V_b^T, where the S x H matrix
    V_a upsamples, shifts by a and resizes along one axis. The large image is never made.

    Args:
        channels_in, channels_out: I and C.
        scale: s.
        kernel: k, odd.
        before, after: H, pixels along a side of the input, and S.
    """

    along: Tensor

    def __init__(
        self, channels_in: int, channels_out: int, scale: int, kernel: int, before: int, after: int
    ) -> None:
        super().__init__()
        self.weight = nn.Conv2d(channels_in, channels_out, kernel, bias=False).weight
        self.scale, self.kernel, self.after = scale, kernel, after
        along = _resizing(scale, kernel, before, after).to(self.weight.device)
        self.register_buffer("along", along, persistent=False)  # (S, H k)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, I, H, H) to (N, C, S, S)."""
        channels, k = len(self.weight), self.kernel
        taps = self.weight.permute(2, 0, 3, 1).flatten(0, 2)
        by_pixel = linear(x.permute(0, 2, 3, 1), taps).unflatten(-1, (k, channels, k))
        rows = by_pixel.permute(0, 1, 3, 4, 2, 5).flatten(-2)  # (N, H, k, C, H k)
        thin = linear(rows, self.along)  # (N, H, k, C, S)
        columns = thin.permute(0, 3, 4, 1, 2).flatten(-2)  # (N, C, S, H k)
        return linear(columns, self.along).mT


def _resizing(scale: int, kernel: int, before: int, after: int) -> Tensor:
    """The matrices V_a side by side, (S, H k); in float64 on the CPU until they are done."""
    large = scale * before
    exact = torch.eye(large, dtype=torch.float64, device="cpu")
    resize = F.interpolate(exact[None], after, mode="linear")[0].t()
    taps = torch.arange(kernel, device="cpu") - kernel // 2
    source = torch.arange(large, device="cpu")[:, None] + taps
    low = source.div(scale, rounding_mode="floor")[..., None]
    taken = (low == torch.arange(before, device="cpu")).double()  # (s H, k, H)
    return torch.einsum("yp,pah->yha", resize, taken).flatten(1).float()


class FrameNorm(nn.BatchNorm2d):
    """Batch normalisation of each frame's images by their own statistics.

    Attributes:
        frames: T frames, one after another along dimension 0; 1 is plain batch normalisation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.frames = 1

    def forward(self, x: Tensor) -> Tensor:
        """Normalises x (T B, C, H, W); in eval mode by the running statistics."""
        if not self.training or self.frames == 1:
            return super().forward(x)
        forward = super().forward
        return torch.cat([forward(part) for part in x.chunk(self.frames)])


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
            UpsampledConv(32 * width, 32 * width, scale=2, kernel=3),
            nn.ReLU(),
            FrameNorm(32 * width),
            UpsampledConv(32 * width, 16 * width, scale=3, kernel=5),
            nn.ReLU(),
            FrameNorm(16 * width),
            UpsampledResize(16 * width, channels, scale=3, kernel=5, before=18, after=size),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Images (N, C, S, S) of codes (N, F)."""
        x = self.expand(code).view(-1, 3, 3, self.wide).permute(0, 3, 1, 2)
        return self.net(x)  # type: ignore[no-any-return]


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

    def forward(self, code: Tensor) -> Tensor:
        """Images (N, C, S, S) of codes (N, F)."""
        with torch.autocast("cpu", enabled=False):  # For the same reason as `UpsampledConv`.
            return 20 * self.net(widened(code)).tanh()  # type: ignore[no-any-return]


def build_decoder(config: ModelConfig, features: int, channels: int, size: int) -> nn.Module:
    """The decoder that goes with `config.arch`.

    Args:
        config: section `model`.
        features: F.
        channels: C.
        size: S.
    """
    if config.arch != "menet5":
        return ConvDecoder(features, channels, size)
    decoder = MenetDecoder(features, channels, size, config.backbone_width_factor)
    return decoder.to(memory_format=torch.channels_last) if config.channels_last else decoder


def decode(decoder: nn.Module, code: Tensor, *, frames: int = 1) -> Tensor:
    """Images (T, B, C, S, S), float32, of codes (T, B, F), all in one pass.

    Args:
        decoder: made by `build_decoder`.
        code: what to decode.
        frames: T to normalise each frame by its own statistics, as the original did, or 1.
    """
    for module in decoder.modules():
        if isinstance(module, FrameNorm):
            module.frames = frames
    pixels: Tensor = decoder(code.flatten(0, 1))
    return widened(pixels).unflatten(0, code.shape[:2])
