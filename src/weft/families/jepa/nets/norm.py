"""ReLU and batch normalisation as one operation, of a batch or of each frame by itself."""

# N images, T frames of N / T images each, C channels, H W pixels

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weft.families.jepa.nets.lines import (
    factors,
    lines,
    rectified,
    slopes,
    summed_in_lines,
    through,
)
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
        if summed_in_lines(r):
            exact = rectified(r, frames)
            keep(norm, *exact, r.numel() // r.shape[1] // frames)
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
        if summed_in_lines(r):
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


def keep(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Updates the running statistics of `norm`, if any, by each frame in turn.

    Args:
        norm: the layer.
        mean, variance: of the frames, (T, C) each.
        count: pixels of a frame.
    """
    if not norm.track_running_stats:
        return
    kept, spread, momentum = norm.running_mean, norm.running_var, norm.momentum
    assert kept is not None and spread is not None
    assert momentum is not None, "nobody here averages over all batches"
    for m, v in zip(mean.to(kept.dtype), variance.to(spread.dtype), strict=True):
        kept.lerp_(m, momentum)
        spread.lerp_(v * (count / (count - 1)), momentum)


def _backward_lines(
    grad: Tensor, r: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias, with sums over pixels as in `rectified`."""
    frames = len(mean)
    of_x = torch.empty_like(r)
    grad = grad.contiguous(memory_format=torch.channels_last)
    of_grad, of_r, out = (lines(of, frames) for of in (grad, r, of_x))
    of_weight, of_bias = slopes(of_grad, of_r, mean, scale)
    by = factors(weight, mean, scale, of_weight, of_bias, r.numel() // mean.numel())
    through(by, of_grad, of_r, out)
    return of_x, of_weight.sum(0).to(weight.dtype), of_bias.sum(0).to(weight.dtype)
