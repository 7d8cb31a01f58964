"""Matrix products without gradient, by the fastest kernel of the device."""

# M rows, I inputs, O outputs, D weights of a root

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp.transition import Full, Transition


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x weight', shape (M, O).

    torch gives float32 products to MKL, which runs at half the rate of oneDNN on an AMD core
    (measured on an EPYC, one thread, 128 x 100 x 1298: 90 against 182 GFLOP/s).

    Args:
        x: (M, I), contiguous or the transpose of a contiguous matrix.
        weight: (O, I), likewise.
    """
    if x.dtype == torch.float32 and x.device.type == "cpu" and torch.backends.mkldnn.is_available():
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        return out
    return x @ weight.mT


def carry(transition: Transition, rows: Tensor) -> Tensor:
    """A x of each row x, (M, D), in a new tensor."""
    if isinstance(transition, Full):
        return product(rows, transition.E).add_(rows)
    out: Tensor = transition(rows)
    return out


def carry_back(transition: Transition, rows: Tensor) -> Tensor:
    """A' x of each row x, (M, D), in a new tensor."""
    if isinstance(transition, Full):
        return product(rows, transition.E.mT).add_(rows)
    return transition.transpose(rows)


def gradients(transition: Transition, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
    """Gradients of sum_m errors_m . (A rows_m) by A's parameters, both (M, D), contiguous."""
    if isinstance(transition, Full):
        return (product(errors.mT, rows.mT),)
    return transition.gradients(errors, rows)
