"""The transition applied to rows, and its gradients, without autograd."""

# M rows, D weights of a root

from __future__ import annotations

from torch import Tensor

from weft.families.warp.cell.transition import Full, Transition
from weft.nn.dense import product


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
