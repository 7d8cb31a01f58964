"""Blocks of convolution, ReLU and batch normalisation as one function."""

# N images, C channels, H W pixels

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
    A gradient that no one else holds is overwritten by the next one, where autograd would write to
    memory that is not in the cache; and the last map is pooled before it is normalised, which is
    the same and has a quarter of the numbers (measured: a step of VICReg on 32 sequences takes 2 to
    3 % less, one busy thread).

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
    """Statistics of a map r, (C,) each, and the normalisation scale r + shift that they give.

    Attributes:
        mean, inverse: mean and 1 / standard deviation.
        scale, shift: as said, (C, 1, 1) each.
    """

    mean: Tensor
    inverse: Tensor
    scale: Tensor
    shift: Tensor


class _Trunk(torch.autograd.Function):
    """r_i = relu(conv_i(y_(i-1))), y_i = norm_i(r_i), y_0 the input; the last y of pooled r."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, blocks: Sequence[Block], pool: int | None, *parameters: Tensor
    ) -> Tensor:
        inputs, maps, moments = [x], list[Tensor](), list[_Moments]()
        for block, own in zip(blocks, _fours(parameters), strict=True):
            r = F.conv2d(inputs[-1], own[0], own[1], *block.geometry)
            mean, variance = rectified(r)
            if block.norm.track_running_stats:
                assert block.norm.num_batches_tracked is not None
                block.norm.num_batches_tracked.add_(1)
            keep(block.norm, mean, variance, r.numel() // r.shape[1])
            maps.append(r)
            moments.append(_normalisation(block.norm, mean[0], variance[0], own))
            # A mean of pixels commutes with scale and shift.
            last = len(maps) == len(blocks)
            pooled = F.avg_pool2d(r, pool) if last and pool is not None else r
            inputs.append(torch.addcmul(moments[-1].shift, pooled, moments[-1].scale))
        *used, out = inputs
        ctx.save_for_backward(*used, *maps, pooled, *parameters)
        ctx.blocks, ctx.pool, ctx.moments = blocks, pool, moments
        return out

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        count, saved = len(ctx.blocks), ctx.saved_tensors
        inputs, maps, pooled = saved[:count], saved[count : 2 * count], saved[2 * count]
        own = list(_fours(saved[2 * count + 1 :]))
        grad = grad.contiguous(memory_format=torch.channels_last)
        sums = slopes(lines(grad), lines(pooled), *_each(ctx.moments[-1]))
        if ctx.pool is None:
            grad = grad.clone()  # It is overwritten below.
        else:
            side = [ctx.pool] * 2
            grad = _aten.avg_pool2d_backward(grad, maps[-1], side, side, [0, 0], False, True, None)
        found: list[Tensor] = []
        for i in reversed(range(count)):
            of_norm = _through_norm(grad, maps[i], ctx.moments[i], own[i][2], sums)
            # First, as the gradient was written a moment ago.
            of_bias = grad.permute(0, 2, 3, 1).flatten(0, 2).sum(0)
            of_x, of_weight, _ = _aten.convolution_backward(
                grad, inputs[i], own[i][0], None, *ctx.blocks[i].geometry, (1, 1), False, (0, 0), 1,
                (i > 0 or ctx.needs_input_grad[0], True, False),
            )  # fmt: skip
            found = [of_weight, of_bias, *of_norm, *found]
            if i:
                grad = of_x
                sums = slopes(lines(grad), lines(maps[i - 1]), *_each(ctx.moments[i - 1]))
        return of_x, None, None, *found


def _normalisation(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, own: Sequence[Tensor]
) -> _Moments:
    weight, bias = own[2:]
    inverse = (variance + norm.eps).rsqrt()
    scale = weight.double() * inverse
    shift = bias.double() - mean * scale
    each = (mean, inverse, scale[:, None, None], shift[:, None, None])
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


def _each(moments: _Moments) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation as of one frame, (1, C)."""
    return moments.mean[None], moments.inverse[None]


def _fours(parameters: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """The parameters of each block: weight and bias of convolution and of normalisation."""
    for first in range(0, len(parameters), 4):
        yield parameters[first : first + 4]
