"""Sums over the pixels of channels-last maps, in parts that stay in the cache."""

# N images, T frames of N / T images each, C channels, H W pixels

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_aten = torch.ops.aten

LINES = 512
"""Number of lines of pixels that are summed in float32; their gradients fit into the cache."""

Parts = Sequence[Sequence[Tensor]]
"""Lines (lines, W C) by frame and part."""


def summed_in_lines(r: Tensor) -> bool:
    """Whether torch would sum all pixels of a channel one after another in float32.

    It does in channels-last memory. With 213,000 pixels (64 sequences of 17 frames of 14 x 14) a
    variance then has 4 correct digits, and the first layer's gradient 2. In bf16 this is no loss.
    """
    last = r.is_contiguous(memory_format=torch.channels_last) and not r.is_contiguous()
    return last and r.dtype in (torch.float32, torch.float64)


def lines(x: Tensor, frames: int = 1) -> Parts:
    """x (N, C, H, W) in its channels-last memory order, as parts of whole images of each frame.

    Torch then sees each position in a line of each channel as a channel, and sums the lines of a
    part; sums over positions and parts are in float64. With whole images as lines, (N, H W C), the
    sums would not fit into the first-level cache.
    """
    height = x.shape[2]
    whole = x.permute(0, 2, 3, 1).flatten(2).flatten(0, 1)
    return [frame.split(max(LINES // height, 1) * height) for frame in whole.chunk(frames)]


def rectified(x: Tensor, frames: int = 1) -> tuple[Tensor, Tensor]:
    """Applies ReLU to x (N, C, H, W) in place.

    Args:
        x: channels last.
        frames: T.
    Returns: mean and variance of each frame's channels, float64 (T, C) each.
    """
    channels, width = x.shape[1], x.shape[3]
    parts, found = lines(x, frames), []
    for part in (part for frame in parts for part in frame):
        part.clamp_min_(0)
        found.append(_aten.batch_norm_update_stats(part, None, None, 0.0))
    means, variances = (
        torch.stack(each).double().view(frames, -1, width, channels)
        for each in zip(*found, strict=True)
    )
    # The last part of a frame may have fewer lines.
    rows = torch.tensor([len(part) for part in parts[0]], dtype=means.dtype)[:, None, None]
    share = rows / (rows.sum() * width)
    mean = (share * means).sum((1, 2))
    return mean, (share * (variances + (means - mean[:, None, None]).square())).sum((1, 2))


def slopes(grad: Parts, r: Parts, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of grad (r - mean) scale and of grad over each frame's pixels, float64 (T, C) each.

    Args:
        grad, r: parts of the same shapes.
        mean, scale: (T, C).
    """
    frames, channels = mean.shape
    width = r[0][0].shape[1] // channels
    one = mean.new_ones(width * channels)
    found = [
        _aten.native_batch_norm_backward(
            grad_p, r_p, one, None, None, m, s, True, 0.0, (False, True, True)
        )[1:]
        for of_grad, of_r, m, s in zip(
            grad, r, mean.repeat(1, width), scale.repeat(1, width), strict=True
        )
        for grad_p, r_p in zip(of_grad, of_r, strict=True)
    ]
    of_weight, of_bias = (
        torch.stack(sums).double().view(frames, -1, channels).sum(1)
        for sums in zip(*found, strict=True)
    )
    return of_weight, of_bias


def factors(
    weight: Tensor, mean: Tensor, scale: Tensor, of_weight: Tensor, of_bias: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient by r of a normalisation is constant + by_grad grad + by_r r; these three.

    d/dr = (grad - sum(grad) / n - (r - mean) scale sum(grad (r - mean) scale) / n) weight scale
    is linear in grad and r, so that one pass over data in the cache is enough.

    Args:
        weight: (C,).
        mean, scale: (T, C).
        of_weight, of_bias: of `slopes`.
        count: n, the number of a frame's pixels.
    Returns: float64 (T, C) each.
    """
    by_grad = weight.double() * scale.double()
    by_r = -by_grad * scale.double() * of_weight / count
    return -by_grad * of_bias / count - by_r * mean.double(), by_grad, by_r


def through(by: Iterable[Tensor], grad: Parts, r: Parts, out: Parts) -> None:
    """Writes (constant + by_grad grad + by_r r) to `out`, and 0 where r is 0.

    Args:
        by: of `factors`.
        grad, r: parts of the same shapes.
        out: those of the result, which may be `grad`.
    """
    width = r[0][0].shape[1]
    each = (of.to(r[0][0].dtype).repeat(1, width // of.shape[1]) for of in by)
    for constant, by_grad, by_r, *frame in zip(*each, grad, r, out, strict=True):
        for grad_p, r_p, out_p in zip(*frame, strict=True):
            torch.addcmul(constant, by_grad, grad_p, out=out_p).addcmul_(by_r, r_p)
            _aten.threshold_backward.grad_input(out_p, r_p, 0, grad_input=out_p)
