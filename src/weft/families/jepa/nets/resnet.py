"""ResNet-18 (He et al. 2016) as an encoder, without classifier; residual branches start at 0."""

from __future__ import annotations

from torch import Tensor, nn

from weft.families.jepa.nets.conv import PatchedConv

WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """x + f(x) with two 3x3 convolutions in f; the shortcut is a 1x1 convolution if shapes change.

    Args:
        channels_in, channels_out: before and after.
        stride: of the first convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        last = nn.BatchNorm2d(channels_out)
        nn.init.zeros_(last.weight)
        self.residual = nn.Sequential(
            PatchedConv(channels_in, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            PatchedConv(channels_out, channels_out, 3, padding=1, bias=False),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                PatchedConv(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        out: Tensor = self.relu(self.shortcut(x) + self.residual(x))
        return out


def resnet18(channels: int, *, small: bool = False) -> nn.Sequential:
    """Images (N, channels, H, W) to codes (N, 512).

    Args:
        channels: of an image.
        small: a 3x3 stem of stride 1 without pooling, which keeps positions in small images,
            instead of the 7x7 stem of stride 2 and the pooling.
    """
    kernel, stride = (3, 1) if small else (7, 2)
    layers: list[nn.Module] = [
        PatchedConv(channels, WIDTHS[0], kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(WIDTHS[0]),
        nn.ReLU(),
    ]
    if not small:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    before = WIDTHS[0]
    for width in WIDTHS:
        layers += [Block(before, width, 1 if width == before else 2), Block(width, width, 1)]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
