"""Slow, literal forms of the traced update: loops for tests, per-item tensors for the benchmark."""

# B items, O outputs, I inputs, J inputs of a patch, P positions of a convolution

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input

from weft.errors import UsageError
from weft.families.cet.trace.behind import Reading
from weft.families.cet.trace.conversion import traced_layers
from weft.families.cet.trace.kernel import FORMS, cascade_kernel, ideal_kernel, support
from weft.families.cet.trace.rule import Gate
from weft.families.cet.trace.streams import Trace
from weft.families.cet.trace.traced import TracedConv2d, TracedLinear


def kernels(trace: Trace, length: int) -> tuple[Tensor, Tensor]:
    """The kernel of the trace and the kernel of the error's delay, each of `length` taps."""
    if trace.carry:  # normalised over taps that hold all of their mass, whatever the length
        taps = support(trace.delay, trace.order)
        whole = kernels(replace(trace, carry=False), taps)
        memory, late = (functional.pad(k, (0, max(length - taps, 0)))[:length] for k in whole)
        return memory, late
    late = ideal_kernel(trace.delay, length)
    if trace.error == "smeared":
        late = cascade_kernel(trace.delay, trace.order, length)
    if trace.kernel == "sideways":
        return ideal_kernel(0, length), late
    if trace.kernel == "ideal":
        return ideal_kernel(trace.delay, length), late
    return FORMS[trace.readout](trace.delay, trace.order, length), late


def literal_update(
    stored: Tensor,
    error: Tensor,
    theta: Tensor,
    trace: Trace,
    gate: Gate,
    *,
    length: int,
    times: Sequence[int],
    stream: Sequence[int],
    enters: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """Weight and bias update of a dense layer, summed over time steps and items.

    Args:
        stored: the activity of each item that enters the trace, shape (m, I).
        error: error at the ReLU's output, shape (m, O).
        theta: derivative of the ReLU, shape (m, O).
        trace: kernel, delay and error shape.
        gate: whether theta multiplies the trace, the error or both.
        length: time steps of a stream.
        times, stream: the time step and the stream of each item.
        enters: whether each item's activity enters the trace.
    Returns: dW (O, I) and db (O,).
    """
    memory, late = (kernel.tolist() for kernel in kernels(trace, length))
    weight = torch.zeros(error.shape[1], stored.shape[1], dtype=stored.dtype)
    bias = torch.zeros(error.shape[1], dtype=stored.dtype)
    for u, s_u in enumerate(times):
        for t in range(s_u, length):  # the part of the error of item u that arrives at time t
            for i in range(error.shape[1]):
                if late[t - s_u] == 0:
                    continue
                arriving = late[t - s_u] * error[u, i]
                bias[i] += arriving * theta[u, i]
                if gate != "trace":
                    arriving = arriving * theta[u, i]
                for s, s_s in enumerate(times):
                    if stream[s] == stream[u] and s_s <= t and enters[s]:
                        opened = 1.0 if gate == "error" else theta[s, i]
                        weight[i] += arriving * memory[t - s_s] * opened * stored[s]
    return weight, bias


def literal_conv_update(
    stored: Tensor, error: Tensor, theta: Tensor, layer: nn.Conv2d, *args: Any, **options: Any
) -> tuple[Tensor, Tensor]:
    """As `literal_update` for a convolution: a dense layer at each position, with shared weights.

    Args:
        stored: shape (m, C, H, W).
        error, theta: shape (m, O, H', W').
        layer: gives the geometry; its padding must be zeros.
        args, options: those of `literal_update`.
    """
    seen = patches(stored, layer)
    error, theta = (t.reshape(len(t), layer.groups, -1, seen.shape[-1]) for t in (error, theta))
    groups = []
    for g in range(layer.groups):
        updates = [
            literal_update(seen[:, g, :, p], error[:, g, :, p], theta[:, g, :, p], *args, **options)
            for p in range(seen.shape[-1])
        ]
        groups.append([torch.stack(parts).sum(0) for parts in zip(*updates, strict=True)])
    weight, bias = (torch.cat(parts) for parts in zip(*groups, strict=True))
    return weight.view_as(layer.weight), bias


def patches(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """The input patch of each position of a convolution: (m, C, H, W) to (m, groups, J, P)."""
    down, right = layer.stride
    assert not isinstance(layer.padding, str)
    x = functional.pad(x, (layer.padding[1],) * 2 + (layer.padding[0],) * 2)
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    seen = [
        x[:, :, y : y + reach[0] : layer.dilation[0], z : z + reach[1] : layer.dilation[1]]
        for y in range(0, x.shape[2] - reach[0] + 1, down)
        for z in range(0, x.shape[3] - reach[1] + 1, right)
    ]
    return torch.stack([s.reshape(len(x), layer.groups, -1) for s in seen], dim=-1)


def use_per_item(model: nn.Module) -> nn.Module:
    """Makes the traced layers of a converted model compute updates as the original code, in place.

    One eligibility tensor per item (B O I numbers, B O J P for a convolution) is stored, filtered
    by the trace's kernel over time, and multiplied by the delayed errors. The gradients are the
    same at B times the work and memory. Only whole streams are supported, and no similarity.
    `revert` undoes the change.

    Raises:
        UsageError: in carry mode.
    """
    for layer in traced_layers(model).values():
        if layer.history is not None:
            raise UsageError("the per-item form has no carry mode", where="use_per_item")
        layer.__class__ = _PerItemLinear if isinstance(layer, nn.Linear) else _PerItemConv2d
    return model


class _PerItemLinear(TracedLinear):
    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        out: Tensor = _PerItem.apply(x, self.weight, self.bias, self)
        return out


class _PerItemConv2d(TracedConv2d):
    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        out: Tensor = _PerItem.apply(x, self.weight, self.bias, self)
        return out


class _PerItem(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        layer: _PerItemLinear | _PerItemConv2d,
    ) -> Tensor:
        if isinstance(layer, nn.Conv2d):
            out = layer._conv_forward(x, weight, bias)
        else:
            out = functional.linear(x, weight, bias)
        ctx.save_for_backward(x, weight)
        ctx.learner, ctx.layer = layer, Reading()
        return out

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        layer, behind = ctx.learner, ctx.layer.take(delta)
        error, theta = delta, torch.ones_like(delta)
        if behind is not None:
            theta = (behind.hidden > 0).to(delta.dtype)
            error = behind.error
            if behind.pool is not None:
                error = torch.ops.aten.avg_pool2d_backward(error, behind.hidden, *behind.pool)
        grad_x = None
        if isinstance(layer, TracedConv2d):
            if ctx.needs_input_grad[0]:
                grad_x = conv2d_input(
                    x.shape, weight, delta,
                    layer.stride, layer.padding, layer.dilation, layer.groups,
                )  # fmt: skip
            seen = patches(layer.rule.stored(x), layer)
        else:
            grad_x = delta @ weight if ctx.needs_input_grad[0] else None
            seen = layer.rule.stored(x)[:, None, :, None]
        streams = layer.clock.streams
        parts = [
            _update_of_stream(layer, *tensors)
            for tensors in zip(
                *(
                    t.reshape(len(x), seen.shape[1], -1, seen.shape[-1]).chunk(streams)
                    for t in (seen, error, theta)
                ),
                strict=True,
            )
        ]
        grad_weight, grad_bias = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
        return grad_x, grad_weight.view_as(weight), grad_bias, None


def _update_of_stream(
    layer: TracedLinear | TracedConv2d, seen: Tensor, error: Tensor, theta: Tensor
) -> tuple[Tensor, Tensor]:
    """dW (O, J) and db (O,) of one stream.

    Args:
        seen: inputs of the synapses, shape (B, groups, J, P).
        error, theta: error and derivative of the ReLU, shape (B, groups, O / groups, P).
    """
    length, rule = len(seen), layer.rule
    lag = torch.arange(length)[:, None] - torch.arange(length)
    memory, late = (
        torch.where(lag >= 0, kernel[lag.clamp(min=0)], 0.0).to(seen.dtype)
        for kernel in kernels(layer.trace, length)
    )
    delta = error * theta
    opened = torch.ones_like(theta) if rule.gate == "error" else theta
    arriving = torch.tensordot(late, error if rule.gate == "trace" else delta, dims=1)
    if rule.sparse is not None:
        enters = (error * layer.clock.streams).square().flatten(1).sum(1) > rule.sparse
        seen = seen * enters.view(-1, 1, 1, 1)
    weights = []
    for g in range(seen.shape[1]):
        eligibility = opened[:, g, :, None] * seen[:, g, None]  # (B, O, J, P)
        trace = (memory @ eligibility.flatten(1)).view_as(eligibility)
        weights.append((arriving[:, g, :, None] * trace).sum((0, 3)))
    return torch.cat(weights), torch.tensordot(late, delta, dims=1).sum((0, 3)).flatten()
