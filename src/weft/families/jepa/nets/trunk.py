"""Blocks of convolution, ReLU and batch normalisation, of which no normalised map is written."""

# N images, C channels in, O channels out, H W pixels before, h w after, k kernel

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.jepa.nets.conv import Convolution, Pair
from weft.families.jepa.nets.lines import (
    factors,
    lines,
    rectified,
    slopes,
    summed_in_lines,
    through,
)
from weft.families.jepa.nets.norm import keep
from weft.nn.once import once

_aten = torch.ops.aten


@dataclass(frozen=True)
class Block:
    """A convolution, the ReLU after it, and the normalisation after that."""

    conv: Convolution
    norm: nn.BatchNorm2d

    @property
    def geometry(self) -> tuple[Pair, Pair]:
        """Stride and padding."""
        down, along = self.conv.stride
        rows, columns = map(int, self.conv.padding)
        return (down, along), (rows, columns)


def trunk(net: nn.Sequential, x: Tensor) -> tuple[Tensor, nn.Sequential]:
    """The output of the blocks that `net` begins with, pooled if they are, and its other layers.

    On a CPU in training, at full precision and in channels-last memory; elsewhere nothing is done.
    Normalisation is linear, so that the next convolution does it: its weights are multiplied by
    each channel's scale, and what the channels' shifts give at each pixel, fewer at an edge, is
    added. A map then goes through memory twice and not five times (measured: the encoder's forward
    and backward pass for 544 frames 97 ms instead of 101, one busy thread).

    Args:
        net: the layers.
        x: input, (N, C, H, W).
    """
    blocks, pool = _leading(net)
    plain = (
        x.device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or len(blocks) < 2
        or x.dtype != blocks[1].conv.weight.dtype
        or not summed_in_lines(blocks[1].conv.weight)
    )
    if plain:
        return x, net
    parameters = [p for b in blocks for p in (*_two(b.conv), *_two(b.norm))]
    out: Tensor = _Trunk.apply(x, blocks, pool, *parameters)
    return out, nn.Sequential(*list(net)[3 * len(blocks) + (pool is not None) :])


def _leading(net: nn.Sequential) -> tuple[list[Block], int | None]:
    """The blocks in training that `net` begins with, and the side of the pools after them."""
    blocks: list[Block] = []
    layers = list(net)
    while len(layers) >= 3:
        conv, relu, norm = layers[:3]
        if not isinstance(conv, Convolution) or conv.bias is None:
            break
        if not isinstance(relu, nn.ReLU) or not isinstance(norm, nn.BatchNorm2d):
            break
        if not norm.training:
            break
        blocks.append(Block(conv, norm))
        layers = layers[3:]
    pool = layers[0] if layers else None
    if not isinstance(pool, nn.AvgPool2d) or not isinstance(pool.kernel_size, int):
        return blocks, None
    apart = (pool.stride, pool.padding) == (pool.kernel_size, 0)
    return blocks, pool.kernel_size if apart else None


def _two(layer: nn.Module) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias  # type: ignore[return-value]


@dataclass(frozen=True)
class _Moments:
    """Statistics of a map r, and the normalisation scale r + shift that they give; (C,) each.

    Attributes:
        mean, inverse: mean and 1 / standard deviation.
        scale, shift: as said.
    """

    mean: Tensor
    inverse: Tensor
    scale: Tensor
    shift: Tensor


class _Trunk(torch.autograd.Function):
    """r_i = relu(conv_i(norm_(i-1)(r_(i-1)))), r_0 the input; the last is pooled and normalised."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, blocks: Sequence[Block], pool: int | None, *parameters: Tensor
    ) -> Tensor:
        maps, moments = [x], list[_Moments]()
        for block, own in zip(blocks, _fours(parameters), strict=True):
            r, mean, variance = _block(block, own, maps[-1], moments[-1] if moments else None)
            if block.norm.track_running_stats:
                assert block.norm.num_batches_tracked is not None
                block.norm.num_batches_tracked.add_(1)
            keep(block.norm, mean, variance, r.numel() // r.shape[1])
            maps.append(r)
            moments.append(_normalisation(block.norm, mean[0], variance[0], own))
        # A mean of pixels commutes with scale and shift.
        pooled = maps[-1] if pool is None else F.avg_pool2d(maps[-1], pool)
        ctx.save_for_backward(*maps, pooled, *parameters)
        ctx.blocks, ctx.pool, ctx.moments = blocks, pool, moments
        scale, shift = (of[:, None, None] for of in (moments[-1].scale, moments[-1].shift))
        return torch.addcmul(shift, pooled, scale)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.blocks)
        maps, pooled = ctx.saved_tensors[: count + 1], ctx.saved_tensors[count + 1]
        own = list(_fours(ctx.saved_tensors[count + 2 :]))
        grad = grad.contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = []
        sums = slopes(lines(grad), lines(pooled), *_each(ctx.moments[-1]))
        if ctx.pool is None:
            grad = grad.clone()  # Overwritten below.
        else:
            side = [ctx.pool] * 2
            grad = _aten.avg_pool2d_backward(grad, maps[-1], side, side, [0, 0], False, True, None)
        for i in reversed(range(count)):
            of_map = _through_norm(grad, maps[i + 1], ctx.moments[i], own[i][2], sums)
            wanted = i > 0 or ctx.needs_input_grad[0]
            before = ctx.moments[i - 1] if i else None
            of_x, of_weight, of_bias = _of_convolution(
                ctx.blocks[i], own[i][0], grad, maps[i], before, wanted
            )
            found = [of_weight, of_bias, *of_map, *found]
            if i and of_x is not None:
                grad = of_x
                sums = slopes(lines(grad), lines(maps[i]), *_each(ctx.moments[i - 1]))
        return of_x, None, None, *found


def _block(
    block: Block, own: Sequence[Tensor], x: Tensor, before: _Moments | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The map after a block's ReLU, and its mean and variance, float64 (1, O) each.

    Args:
        block: the layers.
        own: its parameters.
        x: the images, or the map after the ReLU before, (N, C, H, W).
        before: the normalisation of that map.
    """
    weight, bias = own[:2]
    if before is None:
        r = F.conv2d(x, weight, bias, *block.geometry)
        return r, *rectified(r)
    scaled = weight * before.scale[:, None, None]
    r = F.conv2d(x, scaled, None, *block.geometry)
    # What a shift gives is the same in all images.
    kernel = torch.einsum("ockl,c->okl", weight, before.shift)[:, None]
    shifted = F.conv2d(x.new_ones(1, 1, *x.shape[2:]), kernel, bias, *block.geometry)
    return r, *rectified(r, onto=shifted)


def _normalisation(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, own: Sequence[Tensor]
) -> _Moments:
    weight, bias = own[2:]
    inverse = (variance + norm.eps).rsqrt()
    scale = weight.double() * inverse
    each = (mean, inverse, scale, bias.double() - mean * scale)
    return _Moments(*(of.to(weight.dtype) for of in each))


def _through_norm(
    grad: Tensor, r: Tensor, moments: _Moments, weight: Tensor, sums: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Makes the gradient of a normalised map that of the map before its ReLU, in place.

    Args:
        grad: (N, C, H, W).
        r: the map after its ReLU.
        moments: of r.
        weight: of the normalisation.
        sums: of `slopes`.
    Returns: the gradients of the normalisation's weight and bias.
    """
    count = r.numel() // r.shape[1]
    through(factors(weight, *_each(moments), *sums, count), lines(grad), lines(r), lines(grad))
    of_weight, of_bias = (of[0].to(weight.dtype) for of in sums)
    return of_weight, of_bias


def _of_convolution(
    block: Block, weight: Tensor, grad: Tensor, x: Tensor, before: _Moments | None, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The gradients of a convolution's normalised input, weight and bias.

    Args:
        block: the layers.
        weight: of the convolution.
        grad: of its output, (N, O, h, w).
        x: its input before the normalisation, (N, C, H, W).
        before: the normalisation.
        wanted: whether the gradient of the input is.
    """
    _, channels, height, width = grad.shape
    # Lines are added up, or all images if a shift needs it, in the parts that were just written.
    size = width * channels * (1 if before is None else height)
    parts = [part.view(-1, size).sum(0) for part in lines(grad)[0]]
    summed = torch.stack(parts).double().sum(0)
    of_bias = summed.view(-1, channels).sum(0).to(grad.dtype)
    of_x, of_weight, _ = _backward(grad, x, weight, block, (wanted, True, False))
    if before is not None:
        image = summed.to(grad.dtype).view(1, height, width, channels).permute(0, 3, 1, 2)
        ones = x.new_ones(1, 1, *x.shape[2:])
        seen = _backward(image, ones, weight[:, :1], block, (False, True, False))[1]
        shape = 1, -1, 1, 1
        of_weight = of_weight * before.scale.view(shape) + seen * before.shift.view(shape)
    return of_x, of_weight, of_bias


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, block: Block, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = _aten.convolution_backward(
        grad, x, weight, None, *block.geometry, (1, 1), False, (0, 0), 1, wanted
    )
    return found


def _each(moments: _Moments) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation as of one frame, (1, C)."""
    return moments.mean[None], moments.inverse[None]


def _fours(parameters: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """The parameters of each block: weight and bias of convolution and of normalisation."""
    for first in range(0, len(parameters), 4):
        yield parameters[first : first + 4]
