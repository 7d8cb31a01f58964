"""The operation of a traced layer, linear or convolution, and the parts of its backward pass."""

# R rows (time); I inputs, O outputs; C channels, H W space

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from weft.families.cet.trace.layout import channels_last
from weft.families.cet.trace.similarity import Factors, moments, moments_by_blocks, moments_by_rows

aten = torch.ops.aten


ROW_COST = 1.5
"""Relative cost of products over pairs of rows against products over weights, by which the form of
`moments` is chosen. Measured with 16 to 1024 rows and weights of 784 x 512, 512 x 512, 784 x 64 and
512 x 10."""


@dataclass(frozen=True)
class Dense:
    """x W' + b for x of shape (R, ..., I)."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The output."""
        return functional.linear(x, weight, bias)

    def error_of_input(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Gradient by x, of x's shape, given the gradient `delta` at the output."""
        return delta @ weight

    def correlate(self, post: Tensor, pre: Tensor, weight: Tensor) -> Tensor:
        """The weight gradient post' pre, (O, I), of errors `post` and inputs `pre`."""
        rows, inputs = _flat(post, pre)
        return rows.mT @ inputs

    def moments(
        self,
        update: Tensor,
        made: Factors,
        true: Factors,
        mean: Tensor,
        means: Callable[[], tuple[Factors, Factors]],
        weight: Tensor,
    ) -> Tensor:
        """Inner products of update and true gradient, see `similarity.moments`; shape (2, 3).

        Args:
            update: weight gradient to compare.
            made: errors and inputs whose `correlate` is the update.
            true: errors (n, ...) and inputs (R, ...), n <= R; the true gradient is `correlate` of
                the errors and the first n inputs.
            mean: mean of the inputs, one row.
            means: gives errors and inputs, in as few rows as possible, of the parts of update and
                true gradient that are due to mean activity.
            weight: the layer's weight.
        """
        (post, pre), (errors, x) = made, true
        outputs, inputs = weight.shape
        few = len(x) * (4 * outputs + inputs) <= ROW_COST * outputs * inputs
        if few and pre is x and x.dim() == 2:
            return moments_by_rows(post, errors, x, mean)
        update_mean, true_mean = means()
        arrives = _flat(errors, x[: len(errors)])
        return moments_by_blocks(update, _flat(*update_mean), arrives, _flat(*true_mean))

    def sum_bias(self, delta: Tensor) -> Tensor:
        """The bias gradient (O,), given the gradient `delta` at the output."""
        return delta.reshape(-1, delta.shape[-1]).sum(0)


@dataclass(frozen=True)
class Conv:
    """conv2d(x, W) + b for x of shape (R, C, H, W).

    Attributes:
        stride, padding, dilation, groups: as in `torch.nn.Conv2d`; padding is with zeros.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The output."""
        return functional.conv2d(
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups
        )

    def error_of_input(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Gradient by x, of x's shape, given the gradient `delta` at the output."""
        return self._backward(delta, x, weight, [True, False, False])[0]

    def correlate(self, post: Tensor, pre: Tensor, weight: Tensor) -> Tensor:
        """The weight gradient of errors `post` at the output and inputs `pre`."""
        return self._backward(post, pre, weight, [False, True, False])[1]

    def moments(
        self,
        update: Tensor,
        made: Factors,
        true: Factors,
        mean: Tensor,
        means: Callable[[], tuple[Factors, Factors]],
        weight: Tensor,
    ) -> Tensor:
        """As `Dense.moments`."""
        errors, x = true
        of_update, of_true = (
            self.correlate(*factors, weight.to(factors[0].dtype)) for factors in means()
        )
        true_gradient = self.correlate(errors, x[: len(errors)], weight)
        return moments(update, of_update, true_gradient, of_true)

    def sum_bias(self, delta: Tensor) -> Tensor:
        """The bias gradient (O,), given the gradient `delta` at the output."""
        if channels_last(delta):
            return delta.permute(0, 2, 3, 1).flatten(0, 2).sum(0)
        return delta.sum((0, 2, 3))

    def _backward(
        self, delta: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]
    ) -> list[Tensor]:
        grads: list[Tensor] = aten.convolution_backward(
            delta, x, weight, [0], self.stride, self.padding, self.dilation, False, [0, 0],
            self.groups, wanted,
        )  # fmt: skip
        return grads


def _flat(post: Tensor, pre: Tensor) -> Factors:
    """Errors and inputs as matrices: all dimensions before the features are rows."""
    return post.reshape(-1, post.shape[-1]), pre.reshape(-1, pre.shape[-1])
