"""Linear and convolution layers that learn by traces; `convert` makes them of plain ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from weft.errors import UsageError
from weft.families.cet.trace.carry import History
from weft.families.cet.trace.memory import RunningMean
from weft.families.cet.trace.operation import Conv, Dense
from weft.families.cet.trace.rule import Rule, Site, traced
from weft.families.cet.trace.streams import Clock, Trace
from weft.families.cet.trace.watch import Watch
from weft.nn.once import refuse_transforms


class Traced:
    """What a layer that learns by a trace has beside its weights.

    Attributes:
        clock: shared by all traced layers of the model.
        trace: kernel and delay.
        rule: how an update is computed from trace and error.
        watch: the gate that acts.
        moments: inner products of the last update and the true gradient, (2, 3), see `similarity`.
        history: activity and errors of earlier batches, in carry mode; else None.
        mean: running mean of the activity, in the covariance form; else None.
    """

    clock: Clock
    trace: Trace
    rule: Rule
    watch: Watch
    moments: Tensor
    history: History | None
    mean: RunningMean | None


class TracedLinear(Traced, nn.Linear):
    """A linear layer that learns by a trace; `does` is its operation."""

    does: Dense

    def forward(self, x: Tensor) -> Tensor:
        """As the plain layer; in training, the backward pass computes the traced update."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        if not self.training:
            return functional.linear(x, _watched(self), self.bias)
        return _learn(self, x)

    def extra_repr(self) -> str:
        """As the plain layer's, with delay, order and gate."""
        return f"{super().extra_repr()}, {_how(self)}"


class TracedConv2d(Traced, nn.Conv2d):
    """A convolution that learns by a trace; `does` is its operation."""

    does: Conv

    def forward(self, x: Tensor) -> Tensor:
        """As the plain layer; in training, the backward pass computes the traced update."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        if not self.training:
            return self._conv_forward(x, _watched(self), self.bias)
        if self.pads_outside:
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = functional.pad(x, self._reversed_padding_repeated_twice, mode=mode)
        return _learn(self, x)

    @property
    def pads_outside(self) -> bool:
        """Whether padding must be applied before the convolution, as when it is not with zeros."""
        return self.padding_mode != "zeros" or self.padding == "same"

    def extra_repr(self) -> str:
        """As the plain layer's, with delay, order and gate."""
        return f"{super().extra_repr()}, {_how(self)}"


def _check_dimensions(layer: TracedLinear | TracedConv2d, x: Tensor) -> None:
    wanted = layer.weight.dim()
    if x.dim() < wanted or (x.dim() > wanted and isinstance(layer, TracedConv2d)):
        shape = "(time, channels, height, width)" if wanted == 4 else "(time, ..., features)"
        raise UsageError(
            f"layer `{layer.watch.name}` got an input of shape {tuple(x.shape)}",
            where="convert",
            expected=f"{shape}: time, and only time, in dimension 0",
        )


def _how(layer: TracedLinear | TracedConv2d) -> str:
    trace = layer.trace
    return f"delay={trace.delay}, order={trace.order}, gate={layer.watch.effective}"


def _watched(layer: TracedLinear | TracedConv2d) -> Tensor:
    """The weight of a layer in eval mode, with a warning if it gets a gradient."""
    weight, warn = layer.weight, layer.clock.warn
    if not weight.requires_grad or torch.compiler.is_compiling():
        return weight

    def warn_once(grad: Tensor) -> None:
        warn(
            "eval",
            "the model is in eval mode while it learns: its layers make no traces and get plain "
            "gradients; call model.train()",
        )

    watched = weight.view_as(weight)
    watched.register_hook(warn_once)
    return watched


def _learn(layer: TracedLinear | TracedConv2d, x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        # Compiled code cannot know which ReLU will follow the layer, so the update is not
        # compiled. A decorator would be simpler, but imports torch's compiler in every run.
        apart: Any = torch.compiler.disable(_update)
        return apart(layer, x)
    return _update(layer, x)


def _update(layer: TracedLinear | TracedConv2d, x: Tensor) -> Tensor:
    clock, history = layer.clock, layer.history
    refuse_transforms(
        f"layer `{layer.watch.name}`, which learns by a trace,",
        "backward() or torch.autograd.grad; `revert(model)` makes plain layers of them",
    )
    _check_dimensions(layer, x)
    if not len(x):
        # No time step: there is nothing to learn from or to store.
        return layer.does.forward(x, layer.weight, layer.bias)
    clock.check(len(x), layer.watch.name, layer.trace)
    turn = 0 if history is None else history.turn
    return traced(
        x,
        layer.weight,
        layer.bias,
        clock.pairing(layer.trace, len(x), layer.weight),
        Site(layer.does, layer.rule, layer.watch, clock.streams, history, turn, layer.mean),
        layer.moments if clock.similarity else None,
    )
