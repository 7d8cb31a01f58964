"""Evaluates many roots at once, with hand-written gradients, without a graph at each step."""

# N rows (sequences), D weights, i inputs of the root, o raw outputs

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from weft.families.warp.cell.root import MlpRoot, Root

Tape = Sequence[Tensor]
"""Values of one evaluation that the backward pass needs, much smaller than the weights."""

Parts = tuple[Tensor, ...]
"""Views of weights (N, D) as `Decoder.parts` makes them."""


class Decoder(ABC):
    """root(theta_n; z_n) of each row n, with its gradient.

    Attributes:
        widths: columns of the tensors on the tape.
    """

    widths: tuple[int, ...] = ()

    def tape(self, theta: Tensor, *leading: int) -> tuple[Tensor, ...]:
        """Room for what `backward` needs besides weights and inputs, (*leading, width) each."""
        return tuple(theta.new_empty(*leading, width) for width in self.widths)

    def parts(self, theta: Tensor) -> Parts:
        """What the others read of weights (N, D), whose rows are contiguous, and write gradients
        to: views, to be made once for a tensor that is used often."""
        return (theta,)

    @abstractmethod
    def forward(self, theta: Parts, z: Tensor, tape: Tape) -> Tensor:
        """Evaluates the root without building a graph.

        Args:
            theta: the weights.
            z: inputs, (N, i).
            tape: receives what `backward` needs, (N, width) each; if empty, nothing is kept.
        Returns: raw outputs (N, o).
        """

    @abstractmethod
    def backward(
        self,
        theta: Parts,
        z: Tensor,
        tape: Tape,
        error: Tensor,
        out: Parts,
        wants_z: bool,
        *,
        adds: bool = False,
    ) -> Tensor | None:
        """Gradient of sum_n error_n . root(theta_n; z_n).

        Args:
            theta, z, tape: of the evaluation.
            error: (N, o).
            out: receives the gradient by the weights.
            wants_z: whether the gradient by z is needed.
            adds: whether to add to `out` instead of overwriting it.
        Returns: the gradient by z, (N, i), or None.
        """


class MlpDecoder(Decoder):
    """A multilayer perceptron with different weights in each row.

    Rows are multiplied as vector times matrix: a batch of such products runs at four times the
    rate of matrix times vector (MKL, 128 matrices of 24 x 24: 17 against 70 us).
    """

    def __init__(self, root: MlpRoot) -> None:
        self.layers, self.activation = root.layers, root.activation
        self.widths = tuple(layer.rows for layer in self.layers[:-1])

        layers = ((layer.middle - layer.start, layer.rows) for layer in root.layers)
        self._sizes = [size for both in layers for size in both]

    def parts(self, theta: Tensor) -> Parts:
        """Each layer's weight (N, rows, columns) and bias (N, rows), in turn."""
        parts = list(theta.split_with_sizes(self._sizes, -1))
        for number, layer in enumerate(self.layers):
            parts[2 * number] = parts[2 * number].view(len(theta), layer.rows, layer.columns)
        return tuple(parts)

    def forward(self, theta: Parts, z: Tensor, tape: Tape) -> Tensor:
        """The tape holds the values before each activation, (N, width)."""
        x = z
        for number, (weight, bias) in enumerate(zip(theta[::2], theta[1::2], strict=True)):
            h = self.activation(x) if number else x
            x = _affine(weight, bias, h, tape[number] if number < len(tape) else None)
        return x

    def backward(
        self,
        theta: Parts,
        z: Tensor,
        tape: Tape,
        error: Tensor,
        out: Parts,
        wants_z: bool,
        *,
        adds: bool = False,
    ) -> Tensor | None:
        """dW_l = delta_l h_{l-1}', db_l = delta_l, delta_{l-1} = slope * W_l' delta_l."""
        delta = error
        for number in range(len(self.layers) - 1, -1, -1):
            x = tape[number - 1] if number else z
            h = self.activation(x) if number else x
            _outer(out[2 * number], out[2 * number + 1], delta, h, adds)
            if number:
                delta = _back(theta[2 * number], delta).mul_(self.activation.slope(x, h))
        return _back(theta[0], delta) if wants_z else None


class GraphDecoder(Decoder):
    """Any root; autograd runs over one step at a time."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def forward(self, theta: Parts, z: Tensor, tape: Tape) -> Tensor:
        """The tape is empty: `backward` evaluates again."""
        return self.root(theta[0], z)

    def backward(
        self,
        theta: Parts,
        z: Tensor,
        tape: Tape,
        error: Tensor,
        out: Parts,
        wants_z: bool,
        *,
        adds: bool = False,
    ) -> Tensor | None:
        """Through a graph of this one evaluation."""
        weights, z = theta[0].detach().requires_grad_(), z.detach().requires_grad_()
        with torch.enable_grad():
            raw = self.root(weights, z)
        grad, grad_z = torch.autograd.grad(raw, (weights, z), error, allow_unused=True)
        if not adds:
            out[0].zero_()
        if grad is not None:
            out[0].add_(grad)
        if not wants_z:
            return None
        return torch.zeros_like(z) if grad_z is None else grad_z


def decoder(root: Root) -> Decoder:
    """The fastest decoder of `root`."""
    return MlpDecoder(root) if isinstance(root, MlpRoot) else GraphDecoder(root)


def _affine(weight: Tensor, bias: Tensor, h: Tensor, out: Tensor | None) -> Tensor:
    """W h + b of each row, (N, rows), in `out` if it is given."""
    if weight.shape[-1] == 1:
        return torch.addcmul(bias, weight.squeeze(-1), h, out=out)
    column = None if out is None else out.unsqueeze(1)
    moved = torch.baddbmm(bias.unsqueeze(1), h.unsqueeze(1), weight.mT, out=column)
    return moved.squeeze(1)


def _back(weight: Tensor, delta: Tensor) -> Tensor:
    """W' delta of each row, (N, columns)."""
    return torch.bmm(delta.unsqueeze(1), weight).squeeze(1)


def _outer(weight: Tensor, bias: Tensor, delta: Tensor, h: Tensor, adds: bool) -> None:
    """Writes, or adds, delta h' and delta to the gradients by W and b."""
    column, row = delta.unsqueeze(-1), h.unsqueeze(-2)
    if adds:
        weight.addcmul_(column, row)
        bias.add_(delta)
    else:
        torch.mul(column, row, out=weight)
        bias.copy_(delta)
