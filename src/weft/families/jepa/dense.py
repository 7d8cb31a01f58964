"""Dense layers for CPUs: products by oneDNN, and one weight gradient for all steps of a loop."""

# R rows, I inputs, O outputs, T steps of a loop

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula


def widened(x: Tensor) -> Tensor:
    """x in float32 if it came out of autocast in less; the same tensor otherwise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, without gradient, by the fastest kernel of the CPU.

    torch gives float32 products to MKL, which runs at half rate on an AMD core; oneDNN does not
    (measured on an EPYC, one thread, 272 x 512 x 1536: 88 against 223 GFLOP/s).

    Args:
        x: (R, I), any strides.
        weight: (O, I), any strides.
        bias: (O,) or None.
    Returns: (R, O).
    """
    if x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            _gapless(x), _gapless(weight), bias, "none", [], ""
        )
        return out
    out = x @ weight.t()
    return out if bias is None else out + bias


if torch.backends.mkldnn.is_available():

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _product_flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
        """What `weft train --dry-run` and the benchmark count."""
        return 2 * x[0] * x[1] * weight[0]


def _gapless(matrix: Tensor) -> Tensor:
    """The matrix, copied if it is a slice: oneDNN takes a thousand times as long over gaps."""
    dense = matrix.is_contiguous() or matrix.t().is_contiguous()
    return matrix if dense else matrix.contiguous()


class _Linear(torch.autograd.Function):
    """x weight^T + bias with all three products of a training step by `product`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if wants_x else None,
            product(grad.t(), x.t()) if wants_weight else None,
            grad.sum(0) if wants_bias else None,
        )


def _plain(x: Tensor) -> bool:
    """Whether torch's own layer is the better one: on a GPU, in bf16, compiled, or empty."""
    return (
        x.device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or x.numel() == 0
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, faster on CPUs; differentiable once.

    Args:
        x: (..., I).
        weight: (O, I).
        bias: (O,) or None.
    Returns: (..., O).
    """
    if _plain(x):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    out: Tensor = _Linear.apply(rows, weight, bias)
    return out.view(*x.shape[:-1], len(weight))


class Dense(nn.Linear):
    """`torch.nn.Linear` with the same parameters and initial values, faster on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (..., I) to (..., O)."""
        return linear(x, self.weight, self.bias)


class _Frozen(torch.autograd.Function):
    """x weight^T + bias whose gradient reaches x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        (weight,) = ctx.saved_tensors
        return product(grad, weight.t()), None, None


class _Tap(torch.autograd.Function):
    """Zeros (T, R, O) to add to the steps' outputs; their gradient gives that of the weights."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor | None, inputs: list[Tensor], shape: tuple[int, int]
    ) -> Tensor:
        ctx.inputs = inputs
        return weight.new_zeros(()).expand(*shape, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        rows = grad.flatten(0, 1)
        low = ctx.inputs[0].dtype
        # A step that was not run has a zero gradient and no input.
        x = torch.cat(ctx.inputs)
        weight = product(rows[: len(x)].to(low).t(), x.t()).to(grad.dtype)
        return weight, rows.sum(0) if ctx.needs_input_grad[1] else None, None, None


class Stepped:
    """A dense layer inside one loop over time, with one product for its whole weight gradient.

    Backpropagation through a loop adds up T weight gradients of O x I numbers each, which costs
    more memory traffic than the steps themselves when a batch is small. Here a step passes the
    gradient to its input only, and the gradients of all outputs meet in one product at the end.

    Args:
        weight: (O, I).
        bias: (O,) or None.
        steps: T, an upper bound of the calls that follow.
        rows: R, rows of every call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, steps: int, rows: int) -> None:
        self.weight, self.bias = weight, bias
        self.plain = weight.device.type != "cpu" or torch.compiler.is_compiling()
        self.inputs: list[Tensor] = []
        self.taps: tuple[Tensor, ...] = ()
        autocast = torch.is_autocast_enabled("cpu")
        self.low = torch.get_autocast_dtype("cpu") if autocast else weight.dtype
        self.constant = weight.detach().to(self.low).contiguous()
        self.offset = None if bias is None else bias.detach().to(self.low)
        if torch.is_grad_enabled() and weight.requires_grad and not self.plain:
            taps: Tensor = _Tap.apply(weight, bias, self.inputs, (steps, rows))
            self.taps = taps.unbind()

    def __call__(self, x: Tensor) -> Tensor:
        """The layer's output (R, O) for x (R, I), in float32 also under autocast."""
        if self.plain:
            return widened(F.linear(x, self.weight, self.bias))
        low = x.to(self.low)
        out: Tensor = _Frozen.apply(low, self.constant, self.offset)
        out = widened(out)
        if not self.taps:
            return out
        out = out + self.taps[len(self.inputs)]
        self.inputs.append(low.detach())
        return out
