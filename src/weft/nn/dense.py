"""Matrix products and dense layers that are fast on any CPU."""

# R rows, I inputs, O outputs

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.nn.once import once
from weft.nn.onednn import has_full_rate, has_onednn, mm

_NARROW = 64
"""Layers with fewer inputs than this compute the transpose of the weight's gradient."""

_LARGE = 1 << 12
"""Number of multiplications from which on torch passes a matrix product to oneDNN."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, without gradient, by the fastest kernel of the device.

    For float32 on a CPU it calls oneDNN, since torch calls MKL, which runs at half its rate on AMD.
    Measured on one thread of an EPYC, in GFLOP/s, MKL and oneDNN: 272 x 512 x 1536 88 and 223,
    1304 x 256 x 1024 103 and 229, 128 x 100 x 1298 90 and 182. Everything else goes to torch.

    Args:
        x: (R, I), any strides.
        weight: (O, I), any strides.
        bias: (O,) or None.
    Returns: (R, O).
    """
    if x.dtype == torch.float32 and x.numel() > 0 and has_onednn(x):
        if bias is None and _turned(x) and x.numel() * len(weight) >= _LARGE and has_full_rate(x):
            return mm(x, _gapless(weight).t())
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            _gapless(x), _gapless(weight), bias, "none", [], ""
        )
        return out
    out = x @ weight.t()
    return out if bias is None else out + bias


def product_onto(x: Tensor, weight: Tensor, onto: Tensor) -> Tensor:
    """onto + x weight^T in one pass, without gradient, by the kernel that `product` uses.

    Args:
        x: (R, I).
        weight: (O, I).
        onto: (R, O).
    Returns: (R, O), new.
    """
    if x.dtype == torch.float32 and x.numel() > 0 and has_onednn(x):
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            _gapless(x), _gapless(onto), _gapless(weight), None, "add"
        )
        return out
    return torch.addmm(onto, x, weight.t())


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, known: Tensor | None = None
) -> Tensor:
    """`torch.nn.functional.linear`, faster on CPUs; differentiable once.

    Args:
        x: (..., I).
        weight: (O, I); no gradient is computed for it where it is frozen.
        bias: (O,) or None.
        known: the output (..., O), if it was computed before without a gradient; it is then not
            computed again.

    Returns: (..., O).
    """
    if by_torch(x):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    if known is not None:
        known = known.flatten(0, -2)
    out: Tensor = _Linear.apply(rows, weight, bias, known)
    return out.view(*x.shape[:-1], len(weight))


class Dense(nn.Linear):
    """`torch.nn.Linear` with the same parameters and initial values, faster on CPUs."""

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Maps x (..., I) to (..., O); `known` as for `linear`."""
        return linear(x, self.weight, self.bias, known=known)


def quiet(x: Tensor) -> Tensor:
    """The same tensor, but a gradient that is all zeros is not propagated further.

    The layers of `linear` before it then skip their products, and still get gradients of zeros. On
    a GPU, where looking at the values would stall, and in compiled code it does nothing.
    """
    if by_torch(x):
        return x
    passed: Tensor = _Quiet.apply(x)
    return passed


class _Linear(torch.autograd.Function):
    """x weight^T + bias with all three products of a training step by `product`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, known: Tensor | None
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias) if known is None else known.view_as(known)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, _ = ctx.needs_input_grad
        if grad is None:
            # Zeros and not None for the parameters: optimisers skip parameters without a gradient.
            return (
                None,
                torch.zeros_like(weight) if wants_weight else None,
                weight.new_zeros(len(weight)) if wants_bias else None,
                None,
            )
        return (
            product(grad, weight.t()) if wants_x else None,
            _of_weight(grad, x) if wants_weight else None,
            grad.sum(0) if wants_bias else None,
            None,
        )


class _Quiet(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> Tensor | None:
        return grad if grad.any() else None


def _of_weight(grad: Tensor, x: Tensor) -> Tensor:
    """The weight's gradient (O, I), given that of the outputs (R, O) and the inputs (R, I).

    oneDNN is slower for results with few columns than for those with few rows (measured for 512
    rows and 1536 outputs, one thread: 0.63 ms against 0.07 for 2 inputs, 0.69 against 0.32 for 32).
    """
    if x.shape[1] < _NARROW < grad.shape[1]:
        return product(x.t(), grad.t()).t().contiguous()
    return product(grad.t(), x.t())


def by_torch(x: Tensor) -> bool:
    """Whether torch's own forms are used: on a GPU, under autocast, compiled, or for no rows."""
    return (
        x.device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or x.numel() == 0
    )


def _turned(matrix: Tensor) -> bool:
    """Whether the matrix is a transposed view. `_linear_pointwise` would copy it and `mm` does not,
    which makes the gradient of a weight faster by a fifth."""
    return not matrix.is_contiguous() and matrix.t().is_contiguous()


def _gapless(matrix: Tensor) -> Tensor:
    """The matrix, copied if its rows have gaps, with which oneDNN is a thousand times slower."""
    dense = matrix.is_contiguous() or matrix.t().is_contiguous()
    return matrix if dense else matrix.contiguous()
