"""Matrix products at the full rate of any CPU."""

# R rows, I inputs, O outputs

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x weight^T, without gradient.

    torch gives float32 products to MKL, which runs at half rate on an AMD core; oneDNN does not
    (measured on an EPYC, one thread, 1304 x 256 x 1024: 103 against 229 GFLOP/s).

    Args:
        x: (R, I), any strides.
        weight: (O, I), any strides.
    Returns: (R, O).
    """
    if _plain(x):
        return x @ weight.t()
    out: Tensor = torch.ops.mkldnn._linear_pointwise(
        _gapless(x), _gapless(weight), None, "none", [], ""
    )
    return out


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """`torch.nn.functional.linear` without bias, faster on CPUs; differentiable once.

    Args:
        x: (..., I).
        weight: (O, I); no gradient is computed for it where it is frozen.
    Returns: (..., O).
    """
    if _plain(x):
        return F.linear(x, weight)
    out: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight)
    return out.view(*x.shape[:-1], len(weight))


class _Linear(torch.autograd.Function):
    """x weight^T with all three products of a training step by `product`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if wants_x else None,
            product(grad.t(), x.t()) if wants_weight else None,
        )


def _plain(x: Tensor) -> bool:
    """Whether torch's own product is the one to take."""
    return (
        x.dtype != torch.float32
        or x.device.type != "cpu"
        or x.numel() == 0
        or not torch.backends.mkldnn.is_available()
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    )


def _gapless(matrix: Tensor) -> Tensor:
    """The matrix, copied if it is a slice: oneDNN takes a thousand times as long over gaps."""
    dense = matrix.is_contiguous() or matrix.t().is_contiguous()
    return matrix if dense else matrix.contiguous()
