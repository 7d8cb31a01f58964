"""The root network: a function of a flat weight vector and of the position where it is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from weft.errors import ConfigError
from weft.families.warp.cell.activation import Activation, activation
from weft.families.warp.cell.ranges import check_count


class Root(Protocol):
    """A function of D weights and an input; it has no parameters itself.

    Attributes:
        size: D, number of weights.
        inputs: features of z: clock features first, then data channels if `input_prev_data`.
        outputs: raw outputs, before the head.
    """

    @property
    def size(self) -> int:
        """D, number of weights."""

    @property
    def inputs(self) -> int:
        """Features of z."""

    @property
    def outputs(self) -> int:
        """Raw outputs."""

    def fresh(self, generator: torch.Generator | None = None) -> Tensor:
        """Weights of a newly initialised root, shape (D,), on the default device and dtype."""

    def __call__(self, theta: Tensor, z: Tensor) -> Tensor:
        """Evaluates the root.

        Args:
            theta: weights, shape (..., D).
            z: inputs, shape (..., inputs); its leading dimensions broadcast with those of theta.
        Returns: raw outputs, shape (..., outputs).
        """


class Dense(NamedTuple):
    """The place of one affine map in the flat vector: the weight row by row, then the bias.

    Attributes:
        start: index of the first weight.
        middle: index of the first bias.
        stop: one past the last bias.
        rows: outputs.
        columns: inputs.
    """

    start: int
    middle: int
    stop: int
    rows: int
    columns: int

    def weight(self, theta: Tensor) -> Tensor:
        """The weight in `theta` (..., D), shape (..., rows, columns), a view."""
        flat = theta[..., self.start : self.middle]
        return flat.view(*theta.shape[:-1], self.rows, self.columns)

    def bias(self, theta: Tensor) -> Tensor:
        """The bias in `theta` (..., D), shape (..., rows), a view."""
        return theta[..., self.middle : self.stop]


@dataclass(frozen=True)
class MlpRoot:
    """A multilayer perceptron inputs -> width x depth -> outputs, without a final activation.

    Args:
        inputs: features of z.
        outputs: raw outputs.
        width: units of a hidden layer.
        depth: hidden layers; 0 is one affine map.
        nonlinearity: name of the activation after each hidden layer.
    Raises:
        ConfigError: if a number is invalid, or there is no such activation.
    """

    inputs: int
    outputs: int
    width: int = 24
    depth: int = 3
    nonlinearity: str = "relu"

    def __post_init__(self) -> None:
        check_count("output_size", self.outputs)
        check_count("width", self.width)
        check_count("depth", self.depth, least=0)
        activation(self.nonlinearity)

    @cached_property
    def activation(self) -> Activation:
        """The activation after each hidden layer."""
        return activation(self.nonlinearity)

    @cached_property
    def layers(self) -> tuple[Dense, ...]:
        """The affine maps, first to last."""
        widths = (self.inputs, *(self.width,) * self.depth, self.outputs)
        maps, start = [], 0
        for columns, rows in pairwise(widths):
            middle = start + rows * columns
            maps.append(Dense(start, middle, middle + rows, rows, columns))
            start = middle + rows
        return tuple(maps)

    @property
    def size(self) -> int:
        """D = sum of rows * (columns + 1)."""
        return self.layers[-1].stop

    @property
    def flops(self) -> int:
        """Floating point operations of one evaluation, activations not counted."""
        return sum(2 * prod((layer.rows, layer.columns)) for layer in self.layers)

    def fresh(self, generator: torch.Generator | None = None) -> Tensor:
        """Weights and biases uniform in ±1/sqrt(columns), shape (D,)."""
        theta = torch.empty(self.size)
        for layer in self.layers:
            bound = layer.columns**-0.5
            theta[layer.start : layer.stop].uniform_(-bound, bound, generator=generator)
        return theta

    def __call__(self, theta: Tensor, z: Tensor) -> Tensor:
        """h_0 = z, h_i = activation(W_i h_{i-1} + b_i), the last map without activation.

        Args:
            theta: shape (..., D).
            z: shape (..., inputs), broadcast against theta's leading dimensions.
        Returns: shape (..., outputs).
        """
        h, shared = z, theta.dim() == 1 or theta.shape[-2] == 1
        for layer in self.layers:
            weight, bias = layer.weight(theta), layer.bias(theta)
            if shared:  # one weight for all rows of z: a product without copies of the weight
                h = h @ (weight if theta.dim() == 1 else weight.squeeze(-3)).mT + bias
            else:
                h = (weight @ h.unsqueeze(-1)).squeeze(-1) + bias
            if layer is not self.layers[-1]:
                h = self.activation(h)
        return h


def check_root(root: Root, wanted: Root) -> None:
    """Checks that a root has the same inputs and outputs as `wanted`.

    Raises:
        ConfigError: if it has not.
    """
    if (root.inputs, root.outputs) != (wanted.inputs, wanted.outputs):
        raise ConfigError(
            f"the root maps {root.inputs} features to {root.outputs} outputs",
            where="root",
            expected=f"{wanted.inputs} features and {wanted.outputs} outputs",
        )
