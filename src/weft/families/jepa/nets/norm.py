"""ReLU and batch normalisation as one operation, of a batch or of each frame by itself."""

# N images, T frames of N / T images each, C channels, H W pixels

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from weft.nn.once import once

_aten = torch.ops.aten


def run(net: nn.Sequential, x: Tensor, *, frames: int = 1) -> Tensor:
    """`net(x)`, with each ReLU and following batch normalisation as one operation.

    Args:
        net: the layers.
        x: input, (N, …).
        frames: T equal parts of a batch, one after another along dimension 0, each of which is
            normalised by its own statistics in training; 1 is plain batch normalisation.
    """
    layers: list[nn.Module | None] = [None, *net, None]
    for before, layer, after in zip(layers, net, layers[2:], strict=False):
        if isinstance(before, nn.ReLU) and isinstance(layer, nn.BatchNorm2d):
            x = rectified_norm(x, layer, frames)
        elif not (isinstance(layer, nn.ReLU) and isinstance(after, nn.BatchNorm2d)):
            x = layer(x)
    return x


def rectified_norm(x: Tensor, norm: nn.BatchNorm2d, frames: int = 1) -> Tensor:
    """`norm(x.relu())` for each frame, with the same running statistics; x may be overwritten.

    Autograd would copy the frames together in both directions, and pass through memory three times
    instead of once.

    Args:
        x: (N, C, H, W).
        norm: affine; it keeps running statistics if it tracks them.
        frames: T; each frame counts as a batch.
    """
    plain = x.device.type != "cpu" or torch.compiler.is_compiling()
    if not norm.training or (plain and frames == 1):
        whole: Tensor = norm(x.relu())
        return whole
    if plain:
        return torch.cat([norm(frame) for frame in x.relu().chunk(frames)])
    if norm.track_running_stats:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(frames)
    out: Tensor = _RectifiedNorm.apply(x, norm.weight, norm.bias, norm, frames)
    return out


class _RectifiedNorm(torch.autograd.Function):
    """y = weight (r - mean) / std + bias of r = relu(x), every frame by its own mean and std."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, frames: int
    ) -> Tensor:
        # In place, as `nn.ReLU(inplace=True)`; if another layer still needs x, torch raises.
        r, y = x.detach(), torch.empty_like(x)
        kept = (norm.running_mean, norm.running_var) if norm.track_running_stats else (None, None)
        mean, scale = (weight.new_empty(frames, len(weight)) for _ in range(2))
        variance: Tensor | None = None
        if _channels_last(r):
            exact = _rectified(r, frames)
            _keep(*exact, r.numel() // r.shape[1] // frames, *kept, norm.momentum)
            mean[:], variance = exact[0], exact[1].to(mean.dtype)
            scale[:] = (exact[1] + norm.eps).rsqrt()
        else:
            r.clamp_min_(0)
        for t, (r_t, y_t) in enumerate(zip(r.chunk(frames), y.chunk(frames), strict=True)):
            by = (*kept, True) if variance is None else (mean[t], variance[t], False)
            _aten.native_batch_norm.out(
                r_t, weight, bias, *by, norm.momentum, norm.eps,
                out=y_t, save_mean=mean[t], save_invstd=scale[t],
            )  # fmt: skip
        ctx.save_for_backward(r, weight, mean, scale)
        ctx.eps = norm.eps
        return y

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        r, weight, mean, scale = ctx.saved_tensors
        if _channels_last(r):
            return *_backward_lines(grad, r, weight, mean, scale), None, None
        of_x = torch.empty_like(r)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        for r_t, grad_t, of_x_t, mean_t, scale_t in zip(
            *(whole.chunk(len(mean)) for whole in (r, grad, of_x)), mean, scale, strict=True
        ):
            part = _of_frame(grad_t, r_t, weight, mean_t, scale_t, ctx.eps, of_x_t)
            of_weight += part[0]
            of_bias += part[1]
        return of_x, of_weight, of_bias, None, None


def _of_frame(
    grad: Tensor, r: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float, out: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of weight and bias; that of x is written to `out`."""
    of_r, of_weight, of_bias = _aten.native_batch_norm_backward(
        grad, r, weight, None, None, mean, scale, True, eps, (True,) * 3
    )
    _aten.threshold_backward.grad_input(of_r, r, 0, grad_input=out)
    return of_weight, of_bias


_LINES = 512
"""Number of lines of pixels that are summed in float32; their gradients fit into the cache."""


def _channels_last(r: Tensor) -> bool:
    """Whether torch would sum all pixels of a channel one after another in float32.

    It does in channels-last memory. With 213,000 pixels (64 sequences of 17 frames of 14 x 14) a
    variance then has 4 correct digits, and the first layer's gradient 2. In bf16 this is no loss.
    """
    last = r.is_contiguous(memory_format=torch.channels_last) and not r.is_contiguous()
    return last and r.dtype in (torch.float32, torch.float64)


def _lines(x: Tensor, frames: int) -> list[tuple[Tensor, ...]]:
    """x (N, C, H, W) in its channels-last memory order, as parts (lines, W C) of each frame.

    Torch then sees each position in a line of each channel as a channel, and sums the lines of a
    part; sums over positions and parts are in float64. With whole images as lines, (N, H W C), the
    sums would not fit into the first-level cache.
    """
    whole = x.permute(0, 2, 3, 1).flatten(2).flatten(0, 1)
    return [frame.split(_LINES) for frame in whole.chunk(frames)]


def _rectified(x: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Applies ReLU to x (N, C, H, W) in place.

    Returns: mean and variance of each frame's channels, float64 (T, C) each.
    """
    parts, found = _lines(x, frames), []
    for part in chain(*parts):
        part.clamp_min_(0)
        found.append(_aten.batch_norm_update_stats(part, None, None, 0.0))
    means, variances = (
        torch.stack(each).double().view(frames, len(parts[0]), x.shape[3], -1)
        for each in zip(*found, strict=True)
    )
    # The last part of a frame may have fewer lines.
    lines = torch.tensor([len(part) for part in parts[0]], dtype=means.dtype)[:, None, None]
    share = lines / (lines.sum() * x.shape[3])
    mean = (share * means).sum((1, 2))
    return mean, (share * (variances + (means - mean[:, None, None]).square())).sum((1, 2))


def _keep(
    mean: Tensor,
    variance: Tensor,
    count: int,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float | None,
) -> None:
    """Updates running statistics, if any, by each frame of `count` pixels in turn."""
    if running_mean is None or running_var is None:
        return
    assert momentum is not None, "nobody here averages over all batches"
    for m, v in zip(mean.to(running_mean.dtype), variance.to(running_var.dtype), strict=True):
        running_mean.lerp_(m, momentum)
        running_var.lerp_(v * (count / (count - 1)), momentum)


def _backward_lines(
    grad: Tensor, r: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias, with sums over pixels as in `_rectified`.

    d/dr = (grad - sum(grad) / n - (r - mean) scale sum(grad (r - mean) scale) / n) weight scale
    is linear in grad and r, so that one pass over data in the cache is enough.
    """
    frames, width = len(mean), r.shape[3]
    grad = grad.contiguous(memory_format=torch.channels_last)
    of_x = torch.empty_like(r)
    parts = [_lines(of, frames) for of in (grad, r, of_x)]
    everywhere = [of.repeat(1, width) for of in (weight.expand_as(mean), mean, scale)]
    found = [
        _aten.native_batch_norm_backward(
            grad_p, r_p, w, None, None, m, s, True, 0.0, (False, True, True)
        )[1:]
        for of_grad, of_r, w, m, s in zip(*parts[:2], *everywhere, strict=True)
        for grad_p, r_p in zip(of_grad, of_r, strict=True)
    ]
    of_weight, of_bias = (
        torch.stack(sums).double().view(frames, -1, len(weight)).sum(1)
        for sums in zip(*found, strict=True)
    )
    count = r.numel() / (frames * len(weight))
    by_grad = weight.double() * scale.double()
    by_r = -by_grad * scale.double() * of_weight / count
    constant = -by_grad * of_bias / count - by_r * mean.double()
    factors = (of.to(r.dtype).repeat(1, width) for of in (constant, by_grad, by_r))
    for c, g, k, *frame in zip(*factors, *parts, strict=True):
        for grad_p, r_p, out in zip(*frame, strict=True):
            torch.addcmul(c, g, grad_p, out=out).addcmul_(k, r_p)
            _aten.threshold_backward.grad_input(out, r_p, 0, grad_input=out)
    return of_x, of_weight.sum(0).to(weight.dtype), of_bias.sum(0).to(weight.dtype)
