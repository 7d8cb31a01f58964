"""Marks hand-written backward passes, so that asking more of them is a clear error."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from weft.errors import UsageError

Backward = Callable[..., Any]


def once(backward: Backward) -> Backward:
    """Marks the backward pass of a `torch.autograd.Function` as not differentiable.

    torch's own `once_differentiable` treats the gradient as a constant if the incoming gradient is
    one, or in `autograd.grad(..., create_graph=True)`; the second derivative then silently lacks a
    term. Here any derivative of the gradient with respect to a leaf of the function raises.

    Raises:
        UsageError: when a derivative of the marked pass's result is taken.
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
    """Whether a transform of torch.func is active, such as `vmap` or `grad`.

    These cannot transform functions with hand-written gradients.
    """
    return bool(torch._C._are_functorch_transforms_active())


def is_traced() -> bool:
    """Whether a transform of torch.func is active, or torch.export records the computation.

    Neither takes forms that are chosen by the size of a batch.
    """
    exports = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return is_transformed() or bool(exports())


def refuse_transforms(what: str, instead: str) -> None:
    """Raises an error inside transforms of torch.func.

    Args:
        what: cannot be transformed, for the message.
        instead: what the user can do instead.

    Raises:
        UsageError: if a transform is active.
    """
    if is_transformed():
        raise UsageError(
            f"{what} has gradients written by hand, which torch.func cannot transform",
            where="torch.func",
            expected=instead,
        )


class _Underived(torch.autograd.Function):
    """Passes gradients through, and refuses to differentiate them."""

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
    """The leaf tensors that a node of the autograd graph depends on."""
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
