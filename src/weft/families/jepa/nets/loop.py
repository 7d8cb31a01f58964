"""Dense layers in a loop over time: packed weights, and one product for their gradient."""

# T steps of a loop, R rows, I inputs, O outputs

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.nn.dense import product
from weft.nn.once import once
from weft.nn.onednn import has_onednn
from weft.nn.precision import widened


class Constant:
    """A dense layer without gradient of its weight, for many calls with few rows each.

    A loop reads the whole weight at every step. On a CPU it is packed once into the layout of
    oneDNN's kernels (measured for 16 rows, 512 x 1536, one thread: 0.28 ms per product instead of
    0.44; packing takes 0.8 ms), and its transpose once for all gradients.

    Args:
        weight: (O, I).
        bias: (O,) or None.
        rows: R, number of rows in every call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        device = weight.device.type
        autocast = torch.is_autocast_enabled(device)
        self.low = torch.get_autocast_dtype(device) if autocast else weight.dtype
        self.weight = weight.detach().to(self.low)
        self.bias = None if bias is None else bias.detach().to(self.low)
        self.rows = rows
        self.laid_out = _laid_out(self.weight, rows)
        self.turned: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The layer's output (R, O) for x (R, I), without gradient, in float32 or wider."""
        with torch.no_grad():
            low = x.to(self.low)
            if self.laid_out is None:
                return widened(product(low, self.weight, self.bias))
            return _by(self.laid_out, low, self.bias)

    def transposed(self, grad: Tensor) -> Tensor:
        """The gradient (R, I) of the layer's input, given that of its output, (R, O)."""
        low = grad.to(self.low)
        if self.laid_out is None:
            return widened(product(low, self.weight.t()))
        if self.turned is None:
            self.turned = _laid_out(self.weight.t(), self.rows)
            assert self.turned is not None
        return _by(self.turned, low, None)


def _laid_out(weight: Tensor, rows: int) -> Tensor | None:
    """A weight (O, I) packed for oneDNN and this number of rows; None if oneDNN is not used."""
    if not has_onednn(weight, weight.dtype):
        return None
    kept: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
    return kept


def _by(laid_out: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), laid_out, bias, "none", [], "")
    return widened(out)


class _Frozen(torch.autograd.Function):
    """A dense layer with a gradient of its input only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Constant) -> Tensor:
        ctx.layer = layer
        return layer(x)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.transposed(grad), None


class _Tap(torch.autograd.Function):
    """Zeros (T, R, O) to add to the steps' outputs; their gradient gives that of the weights."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor | None, inputs: list[Tensor], shape: tuple[int, int]
    ) -> Tensor:
        ctx.inputs = inputs
        return weight.new_zeros(()).expand(*shape, len(weight))

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        rows = grad.flatten(0, 1)
        # A step that was not run has a zero gradient and no input.
        x = torch.cat(ctx.inputs)
        weight = product(rows[: len(x)].to(x.dtype).t(), x.t()).to(grad.dtype)
        return weight, rows.sum(0) if ctx.needs_input_grad[1] else None, None, None


class Stepped:
    """A dense layer inside one loop over time, with one product for its whole weight gradient.

    Back-propagation through a loop sums T weight gradients of O x I numbers, which for small
    batches is more memory traffic than the steps themselves. Here a step passes the gradient to its
    input only, and the gradients of all outputs are used in one product at the end.

    Args:
        weight: (O, I).
        bias: (O,) or None.
        steps: T, an upper bound of the calls that follow.
        rows: R, rows of every call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, steps: int, rows: int) -> None:
        self.weight, self.bias = weight, bias
        self.inputs: list[Tensor] = []
        self.taps: tuple[Tensor, ...] = ()
        self.constant: Constant | None = None
        if weight.device.type != "cpu" or torch.compiler.is_compiling():
            return
        self.constant = Constant(weight, bias, rows)
        if torch.is_grad_enabled() and weight.requires_grad:
            taps: Tensor = _Tap.apply(weight, bias, self.inputs, (steps, rows))
            self.taps = taps.unbind()

    def __call__(self, x: Tensor) -> Tensor:
        """The layer's output (R, O) for x (R, I), in float32 also under autocast."""
        if self.constant is None:
            return widened(F.linear(x, self.weight, self.bias))
        if not torch.is_grad_enabled():
            return self.constant(x)
        out: Tensor = _Frozen.apply(x, self.constant)
        if not self.taps:
            return out
        out = out + self.taps[len(self.inputs)]
        self.inputs.append(x.detach().to(self.constant.low))
        return out
