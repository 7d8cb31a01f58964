"""Small networks with a layer to trace, their gradients, and those of the rule by loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from weft.families.cet.reference import literal_conv_update, literal_update
from weft.families.cet.trace.traced import TracedConv2d

GATES = ("trace", "both", "error")
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def dense(relu: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), *([nn.ReLU()] if relu else []), nn.Linear(5, 2)).double()


def conv(**geometry: Any) -> nn.Sequential:
    pool = geometry.pop("pool", None)
    behind = [] if pool is None else [pool]
    return nn.Sequential(nn.Conv2d(2, 4, **geometry), nn.ReLU(), *behind, nn.Flatten(2)).double()


def losses(out: Tensor, weights: Tensor) -> Tensor:
    """A smooth loss of each row."""
    return (out * weights[: out.numel()].view_as(out) + out.square()).flatten(1).sum(1)


def learn(model: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    """Gradients of the mean loss by all parameters and, last, by the input."""
    x = x.clone().requires_grad_()
    loss = losses(model(x), weights).mean()
    return list(torch.autograd.grad(loss, [*model.parameters(), x]))


def literal(
    model: nn.Sequential,
    x: Tensor,
    weights: Tensor,
    *,
    times: tuple[list[int], list[int], int] | None = None,
    stored: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What `learn` should give for the first layer of a converted model, by loops."""
    layer, streams = model[0], model[0].clock.streams
    if times is None:
        length = len(x) // streams
        times = list(range(length)) * streams, [i // length for i in range(len(x))], length
    error, theta = errors(model, x, lambda out: losses(out, weights).mean())
    stored = layer.rule.stored(x) if stored is None else stored
    return updated(layer, stored, error, theta, *times)


def errors(
    model: nn.Sequential, x: Tensor, judge: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The errors at the first layer's output, behind its ReLU if it has one, and the ReLU's slopes.

    Args:
        model: the first layer is converted; the others run as in evaluation.
        x: input.
        judge: gives the loss of the model's output.
    """
    layer, *rest = model
    if isinstance(layer, TracedConv2d):
        hidden = layer._conv_forward(x, layer.weight, layer.bias)
    else:
        hidden = functional.linear(x, layer.weight, layer.bias)
    relu = any(isinstance(module, nn.ReLU) for module in rest[:1])
    hidden = (hidden.relu() if relu else hidden).detach().requires_grad_()
    out = hidden
    for module in rest[relu:]:
        out = module.eval()(out)
    (error,) = torch.autograd.grad(judge(out), hidden)
    model.train()
    return error, (hidden > 0).double() if relu else torch.ones_like(error)


def updated(
    layer: nn.Module,
    stored: Tensor,
    error: Tensor,
    theta: Tensor,
    times: list[int],
    stream: list[int],
    length: int,
) -> tuple[Tensor, Tensor]:
    """The literal update of a converted layer; of a sparse one, by what the errors let in."""
    enters = [True] * len(error)
    if layer.rule.sparse is not None:
        squares = (error * layer.clock.streams).square().flatten(1).sum(1)
        enters = (squares > layer.rule.sparse).tolist()
    common = layer.trace, layer.rule.gate
    moments = {"times": times, "stream": stream, "length": length, "enters": enters}
    if isinstance(layer, TracedConv2d):
        return literal_conv_update(stored, error, theta, layer, *common, **moments)
    return literal_update(stored, error, theta, *common, **moments)


def cnn(norm: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        *([nn.BatchNorm2d(4, affine=False)] if norm else []),
        nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3),
    ).double()  # fmt: skip
