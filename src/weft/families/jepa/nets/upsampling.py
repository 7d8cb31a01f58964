"""Convolutions of upsampled images, computed without the upsampled image."""

# N images, C channels in, O channels out, H W pixels before, s scale, k kernel, S pixels after

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.nn.dense import product
from weft.nn.once import once
from weft.nn.precision import widened


class UpsampledConv(nn.Module):
    """Nearest upsampling by s, then a convolution without bias that keeps the size, k = 2 s - 1.

    Nearest upsampling inserts zeros between pixels, s apart, and then sums boxes of s x s pixels.
    The sum can also follow the convolution. All except one in s x s pixels are then zero before
    the convolution, and a transposed convolution of stride s skips them. The result is exact, with
    9 times fewer products at s = 3.

    Args:
        channels_in, channels_out: C and O.
        scale: s.
    """

    def __init__(self, channels_in: int, channels_out: int, scale: int) -> None:
        super().__init__()
        self.scale, self.kernel = scale, 2 * scale - 1
        # The initial values are those of nn.Conv2d.
        self.weight = nn.Conv2d(channels_in, channels_out, self.kernel, bias=False).weight

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, O, s H, s W)."""
        # In bf16 this gains little on a CPU, and its weight gradient stalls as `conv` describes.
        with torch.autocast("cpu", enabled=False):
            return self._add_up(widened(x), self.weight.transpose(0, 1).flip(2, 3))

    def _add_up(self, x: Tensor, weight: Tensor) -> Tensor:
        out: Tensor = _BoxSum.apply(F.conv_transpose2d(x, weight, stride=self.scale), self.scale, 0)
        return out


class UpsampledResize(UpsampledConv):
    """An `UpsampledConv` with few output channels, followed by bilinear resizing to S x S.

    Sums of boxes and resizing are linear and separable: y = V x V^T.

    Args:
        channels_in, channels_out, scale: as in `UpsampledConv`.
        before, after: H = W and S.
    """

    along: Tensor

    def __init__(
        self, channels_in: int, channels_out: int, scale: int, before: int, after: int
    ) -> None:
        super().__init__(channels_in, channels_out, scale)
        self.before, self.after = before, after
        along = _resizing(scale, before, after).to(self.weight)
        self.register_buffer("along", along, persistent=False)  # (S, s H + s - 1)

    def _add_up(self, x: Tensor, weight: Tensor) -> Tensor:
        along = self.along
        if x.dtype == torch.float64:  # In which the kept one would lack half its digits.
            along = _resizing(self.scale, self.before, self.after).to(x)
        if x.device.type == "cpu":
            out: Tensor = _ResizedConv.apply(x, weight, along, self.scale)
            return out
        return along @ F.conv_transpose2d(x, weight, stride=self.scale) @ along.t()


def _resizing(scale: int, before: int, after: int) -> Tensor:
    """The matrix V, float64 (S, s H + s - 1), on the CPU."""
    large = scale * before
    exact = torch.eye(large, dtype=torch.float64, device="cpu")
    resize = F.interpolate(exact[None], after, mode="linear")[0].t()
    box = F.pad(exact, (0, scale - 1))
    return resize @ sum(box.roll(i, 1) for i in range(scale))


class _BoxSum(torch.autograd.Function):
    """Sums over s x s boxes of an image padded by p zeros.

    The gradient is the same operation with padding s - 1 - p.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, padding: int) -> Tensor:
        ctx.geometry = size, padding
        return _box_sum(x, size, padding)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        size, padding = ctx.geometry
        return _box_sum(grad, size, size - 1 - padding), None, None


def _box_sum(x: Tensor, size: int, padding: int) -> Tensor:
    channels = x.shape[1]
    return F.conv2d(x, x.new_ones(channels, 1, size, size), padding=padding, groups=channels)


class _ResizedConv(torch.autograd.Function):
    """V y V^T of a transposed convolution y to few channels, which is never written out.

    oneDNN fills sixteen channels whatever their number and takes three times as long (measured:
    272 maps of 32 x 18 x 18 to one channel, one thread: 14.3 against 4.8 ms for y alone). What a
    line of x gives to each column of the result, by rows of the kernel, is one product (5.4
    ms with V against 6.3 where y is added up first); columns with few of its numbers cost less than
    to leave the others out.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, along: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight, along)
        ctx.stride = stride
        _, wide, kernel, _ = weight.shape
        parts = along.unfold(1, kernel, stride)  # (S, H, k)
        matrix = torch.einsum("cokl,sjl->oksjc", weight, parts).flatten(3).flatten(0, 2)
        rows = product(x.permute(0, 2, 3, 1).flatten(2).flatten(0, 1), matrix)  # (N H, O k S)
        by_row = rows.view(len(x), -1, wide, kernel, len(along)).transpose(1, 2)
        return parts.flatten(1) @ by_row.flatten(2, 3)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, along = ctx.saved_tensors
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            along.t() @ grad @ along, x, weight, None, (ctx.stride,) * 2, (0, 0), (1, 1), True,
            (0, 0), 1, (*ctx.needs_input_grad[:2], False),
        )  # fmt: skip
        return of_x, of_weight, None, None
