"""ReLU and batch normalisation as one operation, of a batch or of each frame by itself."""

# N images, T frames of N / T images each, C channels, H W pixels

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_aten = torch.ops.aten


def run(net: nn.Sequential, x: Tensor, *, frames: int = 1) -> Tensor:
    """What `net` makes of x, with each pair of ReLU and batch normalisation in one operation.

    Args:
        net: layers; which of them are pairs is found out here.
        x: input, (N, …).
        frames: T equal parts of a batch, one after another along dimension 0, that are normalised
            by statistics of their own in training; 1 is plain batch normalisation.
    """
    layers: list[nn.Module | None] = [None, *net, None]
    for before, layer, after in zip(layers, net, layers[2:], strict=False):
        if isinstance(before, nn.ReLU) and isinstance(layer, nn.BatchNorm2d):
            x = rectified_norm(x, layer, frames)
        elif not (isinstance(layer, nn.ReLU) and isinstance(after, nn.BatchNorm2d)):
            x = layer(x)
    return x


def rectified_norm(x: Tensor, norm: nn.BatchNorm2d, frames: int = 1) -> Tensor:
    """`norm(x.relu())` with the same statistics kept, frame by frame; x may be overwritten.

    Autograd would copy the frames together in both directions and walk three times through
    memory where one will do.

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
        # In place, as `nn.ReLU(inplace=True)` would; a layer that still needs x raises an error.
        r, y = x.detach(), torch.empty_like(x)
        kept = (norm.running_mean, norm.running_var) if norm.track_running_stats else (None, None)
        mean, scale = (weight.new_empty(frames, len(weight)) for _ in range(2))
        for r_t, y_t, mean_t, scale_t in zip(
            r.chunk(frames), y.chunk(frames), mean, scale, strict=True
        ):
            r_t.clamp_min_(0)
            by: tuple[Tensor | None, Tensor | None, bool] = (*kept, True)
            if _by_chunks(r_t):
                mean_t[:], variance = _moments(r_t, *kept, norm.momentum)
                scale_t[:] = (variance + norm.eps).rsqrt()
                by = (mean_t, variance.to(mean_t.dtype), False)
            _aten.native_batch_norm.out(
                r_t, weight, bias, *by, norm.momentum, norm.eps,
                out=y_t, save_mean=mean_t, save_invstd=scale_t,
            )  # fmt: skip
        ctx.save_for_backward(r, weight, mean, scale)
        ctx.eps = norm.eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        r, weight, mean, scale = ctx.saved_tensors
        of_x = torch.empty_like(r)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        of_frame = _of_frame_by_chunks if _by_chunks(r) else _of_frame
        for r_t, grad_t, of_x_t, mean_t, scale_t in zip(
            *(whole.chunk(len(mean)) for whole in (r, grad, of_x)), mean, scale, strict=True
        ):
            part = of_frame(grad_t, r_t, weight, mean_t, scale_t, ctx.eps, of_x_t)
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


_ROWS = 1024
"""Pixels that torch adds up in float32 before they are added to the rest in float64."""


def _by_chunks(r: Tensor) -> bool:
    """Whether torch would add up all pixels of a channel one after another in float32.

    It does in channels-last memory: 213,000 pixels, 64 sequences of 14 x 14, leave 4 digits of a
    variance and 2 of the first layer's gradient. In bf16 there are no more to lose.
    """
    last = r.is_contiguous(memory_format=torch.channels_last) and not r.is_contiguous()
    return last and r.dtype in (torch.float32, torch.float64)


def _chunks(r: Tensor) -> list[Tensor]:
    """Some images of r each, of about `_ROWS` pixels."""
    return list(r.split(max(1, _ROWS // r[0, 0].numel())))


def _moments(
    r: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float | None
) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of r (N, C, H, W), float64; moves the running ones."""
    parts = _chunks(r)
    found = [_aten.batch_norm_update_stats(part, None, None, 0.0) for part in parts]
    means, variances = (torch.stack(each).double() for each in zip(*found, strict=True))
    share = torch.tensor([len(part) / len(r) for part in parts], dtype=torch.float64)
    mean = share @ means
    variance = share @ (variances + (means - mean).square())
    if running_mean is not None and running_var is not None:
        assert momentum is not None, "nobody here averages over all batches"
        count = r.numel() // r.shape[1]
        for running, now in ((running_mean, mean), (running_var, variance * count / (count - 1))):
            running.lerp_(now.to(running.dtype), momentum)
    return mean, variance


def _of_frame_by_chunks(
    grad: Tensor, r: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float, out: Tensor
) -> tuple[Tensor, Tensor]:
    """The same as `_of_frame`, with sums over pixels as of `_moments`.

    d/dr = (grad - sum(grad) / n - (r - mean) scale sum(grad (r - mean) scale) / n) weight scale
    is linear in grad and r, and so is one pass over what still lies in the cache.
    """
    grad = grad.contiguous(memory_format=torch.channels_last)
    pixels = r[0, 0].numel()
    parts = [
        _aten.native_batch_norm_backward(
            g, part, weight, None, None, mean, scale, True, eps, (False, True, True)
        )[1:]
        for g, part in zip(_chunks(grad), _chunks(r), strict=True)
    ]
    of_weight, of_bias = (torch.stack(each).double().sum(0) for each in zip(*parts, strict=True))
    by_grad = weight.double() * scale.double()
    by_r = -by_grad * scale.double() * of_weight / (len(r) * pixels)
    constant = -by_grad * of_bias / (len(r) * pixels) - by_r * mean.double()
    factors = [each.to(r.dtype).repeat(pixels) for each in (constant, by_grad, by_r)]
    flat = (each.permute(0, 2, 3, 1).flatten(1) for each in (grad, r, out))
    # Nothing is added up here: parts need but lie in the cache.
    for g, part, o in zip(*(each.split(max(1, 8 * _ROWS // pixels)) for each in flat), strict=True):
        torch.addcmul(factors[0], factors[1], g, out=o).addcmul_(factors[2], part)
        _aten.threshold_backward.grad_input(o, part, 0, grad_input=o)
    return of_weight.to(weight.dtype), of_bias.to(weight.dtype)
