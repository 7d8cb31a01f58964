"""Gradients that are written by hand: what cannot be asked of them, and how that is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from weft.errors import UsageError

Backward = Callable[..., Any]


def once(backward: Backward) -> Backward:
    """Marks the backward pass of a `torch.autograd.Function` as one that has no derivative.

    torch's own `once_differentiable` takes a gradient for a constant where what comes in is one,
    and where a second derivative is asked for by name: its part is then missing without a word.
    Here whoever takes a derivative of the gradient, by a leaf that the function depends on, is
    told.

    Raises:
        UsageError: from the marked pass, when a derivative of what it returned is taken.
    """

    @wraps(backward)
    def first(ctx: Any, *errors: Tensor | None) -> Any:
        with torch.no_grad():
            found = backward(ctx, *errors)
        if not torch.is_grad_enabled():
            return found
        alone = not isinstance(found, tuple)
        grads = (found,) if alone else found
        known = [grad for grad in grads if grad is not None]
        kept = iter(_Underived.apply(len(known), *known, *_leaves(ctx)))
        again = tuple(None if grad is None else next(kept) for grad in grads)
        return again[0] if alone else again

    return first


def is_transformed() -> bool:
    """Whether this is inside `torch.func.vmap`, `grad` or another transform of theirs, which cannot
    see through a function whose gradient is written by hand."""
    return bool(torch._C._are_functorch_transforms_active())


def refuse_transforms(what: str, instead: str) -> None:
    """Tells that `what` cannot be transformed, and what can be done instead.

    Raises:
        UsageError: inside a transform of torch.func.
    """
    if is_transformed():
        raise UsageError(
            f"{what} has gradients written by hand, which torch.func cannot transform",
            where="torch.func",
            expected=instead,
        )


class _Underived(torch.autograd.Function):
    """Gradients as they are, whose own gradient is refused."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.detach() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        raise UsageError(
            "a gradient that is written by hand has no derivative",
            expected="one derivative, or a slower form that has any number, if there is one",
        )


def _leaves(node: Any) -> list[Tensor]:
    """What the inputs of a node of the graph were made of."""
    seen, todo, found = {node}, [node], list[Tensor]()
    while todo:
        for below, _ in todo.pop().next_functions:
            if below is None or below in seen:
                continue
            seen.add(below)
            if hasattr(below, "variable"):
                found.append(below.variable)
            else:
                todo.append(below)
    return found
