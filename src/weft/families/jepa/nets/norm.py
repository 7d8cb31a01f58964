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
            _aten.native_batch_norm.out(
                r_t, weight, bias, *kept, True, norm.momentum, norm.eps,
                out=y_t, save_mean=mean_t, save_invstd=scale_t,
            )  # fmt: skip
        ctx.save_for_backward(r, weight, mean, scale)
        ctx.eps = norm.eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        r, weight, mean, scale = ctx.saved_tensors
        if len(mean) == 1:
            return *_of_frame(grad, r, weight, mean[0], scale[0], ctx.eps), None, None
        of_x = torch.empty_like(r)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        for r_t, grad_t, of_x_t, mean_t, scale_t in zip(
            *(whole.chunk(len(mean)) for whole in (r, grad, of_x)), mean, scale, strict=True
        ):
            part = _of_frame(grad_t, r_t, weight, mean_t, scale_t, ctx.eps, of_x_t)
            of_weight += part[1]
            of_bias += part[2]
        return of_x, of_weight, of_bias, None, None


def _of_frame(
    grad: Tensor,
    r: Tensor,
    weight: Tensor,
    mean: Tensor,
    scale: Tensor,
    eps: float,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, which is written to `out` if there is one, of weight and of bias."""
    of_r, of_weight, of_bias = _aten.native_batch_norm_backward(
        grad, r, weight, None, None, mean, scale, True, eps, (True,) * 3
    )
    of_x = of_r if out is None else out
    _aten.threshold_backward.grad_input(of_r, r, 0, grad_input=of_x)
    return of_x, of_weight, of_bias
