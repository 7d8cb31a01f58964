"""Elementwise activations by name, each with its derivative for hand-written backward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.config.explain import suggest
from weft.errors import ConfigError


@dataclass(frozen=True)
class Activation:
    """An elementwise function.

    Attributes:
        name: what a config calls it.
        function: x -> y.
        slope: (x, y) -> dy/dx with y = function(x), computed from x or y, whichever is cheaper.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """y = function(x), elementwise."""
        return self.function(x)

    def __reduce__(self) -> tuple[Callable[[str], Activation], tuple[str]]:
        # By name, because modules with an activation are pickled, and lambdas cannot be.
        return activation, (self.name,)


def _silu_slope(x: Tensor, y: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate + y * (1 - gate)


ACTIVATIONS = {
    a.name: a
    for a in (
        Activation("relu", torch.relu, lambda x, y: y.sign()),
        Activation("tanh", torch.tanh, lambda x, y: 1 - y * y),
        Activation("sigmoid", torch.sigmoid, lambda x, y: y * (1 - y)),
        Activation("softplus", F.softplus, lambda x, y: torch.sigmoid(x)),
        Activation("swish", F.silu, _silu_slope),
        Activation("identity", lambda x: x, lambda x, y: torch.ones_like(x)),
        Activation("sin", torch.sin, lambda x, y: torch.cos(x)),
        Activation("cos", torch.cos, lambda x, y: -torch.sin(x)),
    )
}


def activation(name: str) -> Activation:
    """The activation called `name`.

    Raises:
        ConfigError: if there is none.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"there is no activation `{name}`",
            where="root_activation, root_final_activation",
            expected=f"one of {', '.join(ACTIVATIONS)}",
            hint=suggest(name, list(ACTIVATIONS), ""),
        )
    return ACTIVATIONS[name]
