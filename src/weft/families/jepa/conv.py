"""A convolution whose weight gradient does not stall in bf16 on CPUs."""

# N images, C channels in, O channels out, H W before, h w after, k kernel

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Pair = tuple[int, int]


def patches(x: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """What a convolution sees of x (N, C, H, W) at each output pixel, (N h w, k_1 k_2 C)."""
    rows, columns = padding
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, columns, columns, rows, rows))
    seen = padded.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
    return seen.permute(0, 1, 2, 4, 5, 3).flatten(0, 2).flatten(1)


class _ByPatches(torch.autograd.Function):
    """A convolution whose weight gradient is one product of patches and output gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        kernel = weight.shape[2:]
        by_pixel = grad.permute(0, 2, 3, 1).flatten(0, 2)
        of_weight = by_pixel.t() @ patches(x, kernel, stride, padding)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.aten.convolution_backward(
                grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1,
                (True, False, False),
            )[0]  # fmt: skip
        of_weight = of_weight.unflatten(1, (*kernel, -1)).permute(0, 3, 1, 2)
        of_bias = by_pixel.sum(0) if ctx.needs_input_grad[2] else None
        return of_x, of_weight, of_bias, None, None


class PatchedConv(nn.Conv2d):
    """`torch.nn.Conv2d`, for strides above 1, no padding, or maps of few pixels.

    In bf16, oneDNN's weight gradient of such a convolution makes all threads wait for each other
    at every image. Where other processes want the cores too, this takes milliseconds an image
    (measured: 3.4 s instead of 17 ms for 272 images on two busy cores). On one thread it takes
    as long as the product used here (7.1 against 7.4 ms). A single channel does not stall.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, O, h, w)."""
        stalls = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and x.shape[1] > 1
        if not stalls or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        low = torch.get_autocast_dtype("cpu")
        bias = None if self.bias is None else self.bias.to(low)
        out: Tensor = _ByPatches.apply(
            x.to(low), self.weight.to(low), bias, self.stride, self.padding
        )
        return out
