"""Convolutions whose gradients are faster on CPUs: that of the bias, and in bf16 of the weight."""

# N images, C channels in, O channels out, H W before, h w after, k kernel

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.nn.once import once

Pair = tuple[int, int]


def patches(x: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """The patch of x (N, C, H, W) at each output pixel of a convolution, (N h w, k_1 k_2 C)."""
    rows, columns = padding
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, columns, columns, rows, rows))
    seen = padded.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
    return seen.permute(0, 1, 2, 4, 5, 3).flatten(0, 2).flatten(1)


class _Convolution(torch.autograd.Function):
    """A convolution whose bias gradient is a sum; with `by_patches`, weight gradient a product."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        geometry: tuple[Pair, Pair],
        by_patches: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.by_patches = geometry, by_patches
        return F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        kernel = weight.shape[2:]
        by_pixel = grad.permute(0, 2, 3, 1).flatten(0, 2)
        # First, as the gradient was written a moment ago and still lies in the cache.
        of_bias = by_pixel.sum(0) if ctx.needs_input_grad[2] else None
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1,
            (ctx.needs_input_grad[0], not ctx.by_patches, False),
        )  # fmt: skip
        if ctx.by_patches:
            product = by_pixel.t() @ patches(x, kernel, stride, padding)
            of_weight = product.unflatten(1, (*kernel, -1)).permute(0, 3, 1, 2)
        return of_x, of_weight, of_bias, None, None


class Convolution(nn.Conv2d):
    """`torch.nn.Conv2d` with the same parameters and initial values, faster on CPUs.

    Together with the weight's gradient, oneDNN takes 1.1 ms for that of the bias; torch's sum
    takes 0.12 ms (measured: 272 maps of 7 x 7, 64 channels, one thread).
    """

    by_patches: ClassVar[bool] = False
    """Whether the weight's gradient in bf16 is a product of `patches`."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, O, h, w)."""
        device = x.device.type
        if device != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        weight, bias, bf16 = self.weight, self.bias, torch.is_autocast_enabled(device)
        if bf16:
            low = torch.get_autocast_dtype(device)
            x, weight = x.to(low), weight.to(low)
            bias = None if bias is None else bias.to(low)
        by_patches = bf16 and self.by_patches and self.in_channels > 1
        geometry = self.stride, self.padding
        out: Tensor = _Convolution.apply(x, weight, bias, geometry, by_patches)
        return out


class PatchedConv(Convolution):
    """A convolution with a stride above 1, without padding, or of maps of few pixels.

    In bf16, oneDNN's weight gradient of such a convolution makes all threads wait for each other
    at every image. Where other processes want the cores too, this takes milliseconds an image
    (measured: 3.4 s instead of 17 ms for 272 images on two busy cores). On one thread it takes
    as long as the product used here (7.1 against 7.4 ms). A single channel does not stall.
    """

    by_patches = True
