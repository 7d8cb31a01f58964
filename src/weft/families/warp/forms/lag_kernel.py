"""The lag kernel A^k X, k = 0, 1, ...: effect of start and drive of a recurrence k steps later."""

# K lags = J giants of C baby steps, Q columns, D weights

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from weft.families.warp.transition.base import Power, Transition
from weft.nn.once import once


def kernel_of(
    transition: Transition, columns: Tensor, count: int, doublings: int = 0, *, few: bool = False
) -> Tensor:
    """A^k X by the transition's formula if it has one, else by `lag_kernel`.

    Arguments are those of `lag_kernel`; `few` selects the layout for products with few rows.
    """
    lags = transition.lags(columns, count)
    if lags is not None:
        return lags
    power = transition.power_of_few_rows() if few else transition.power()
    return lag_kernel(power, columns, count, doublings)


def lag_kernel(power: Power, columns: Tensor, count: int, doublings: int = 0) -> Tensor:
    """A^k X for k = 0 .. count - 1, independent of any batch.

    Step by step, A would be read once per lag for only Q columns, which is limited by memory, and
    on a GPU by calls. With C = 2^c, A^C (c squarings of 2 D^3 operations) gives every C-th lag, and
    C - 1 products with A, for K / C lags each, give those between. The gradient needs no squaring:
    the adjoint S_k = g_k + A' S_{k+1} is computed by the same steps backwards, and dA = sum_k
    S_{k+1} (A^k X)' is one product.

    Args:
        power: A.
        columns: X', (Q, D).
        count: K >= 1.
        doublings: c, C = 2^c.
    Returns: (K, Q, D).
    """
    kernel: Tensor = _Kernel.apply(type(power), count, doublings, columns, *power.tensors)
    return kernel


class _Kernel(Function):
    @staticmethod
    def forward(
        ctx: Any, shape: type[Power], count: int, doublings: int, columns: Tensor, *tensors: Tensor
    ) -> Tensor:
        power = giant = shape(*tensors)
        for _ in range(doublings):
            giant = giant.squared()
        babies = 2**doublings
        # Lag k = jC + i lies at [i, j], so that one baby step is one product of contiguous rows.
        kernel = columns.new_empty(babies, -(-count // babies), *columns.shape)
        kernel[0, 0] = columns
        for j in range(1, kernel.shape[1]):
            kernel[0, j] = giant(kernel[0, j - 1])
        for i in range(1, babies):
            kernel[i] = power(kernel[i - 1].flatten(0, 1)).view_as(kernel[i])
        ctx.shape = shape
        ctx.save_for_backward(kernel, *tensors, *giant.tensors)
        return kernel.transpose(0, 1).flatten(0, 1)[:count].clone()

    @staticmethod
    @once
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, ...]:
        kernel, *saved = ctx.saved_tensors
        tensors = saved[: len(saved) // 2]
        power, giant = ctx.shape(*tensors), ctx.shape(*saved[len(saved) // 2 :])
        babies, giants, *_ = kernel.shape
        adjoint = torch.zeros_like(kernel)
        lags = adjoint.transpose(0, 1)  # (J, C, Q, D), in the order of k
        whole, rest = divmod(len(errors), babies)
        lags[:whole] = errors[: whole * babies].unflatten(0, (whole, babies))
        if rest:
            lags[whole, :rest] = errors[whole * babies :]
        _accumulate(power, giant, adjoint)
        grads = [torch.zeros_like(tensor) for tensor in tensors]
        pairs = [(adjoint[1:], kernel[:-1])] if babies > 1 else []
        pairs += [(adjoint[0, 1:], kernel[-1, :-1])] if giants > 1 else []
        for later, now in pairs:
            flat = (part.reshape(-1, part.shape[-1]) for part in (later, now))
            for grad, more in zip(grads, power.gradients(*flat), strict=True):
                grad += more
        return None, None, None, adjoint[0, 0], *grads


def _accumulate(power: Power, giant: Power, adjoint: Tensor) -> None:
    """Turns g_k into S_k = sum_{l >= k} A'^(l-k) g_l in place; lag k = jC + i lies at [i, j]."""
    babies, giants, *_ = adjoint.shape
    if babies > 1:
        inside = adjoint[-1].flatten(0, 1)  # What the lags of one giant step sum up to.
        for i in range(babies - 2, -1, -1):
            inside = power.transpose(inside) + adjoint[i].flatten(0, 1)
        adjoint[0] = inside.view_as(adjoint[0])
    for j in range(giants - 2, -1, -1):
        adjoint[0, j] += giant.transpose(adjoint[0, j + 1])
    for i in range(babies - 1, 0, -1):
        # The last lag of a giant step is followed by the first one of the next.
        now, after = (
            (adjoint[i], adjoint[i + 1]) if i + 1 < babies else (adjoint[i, :-1], adjoint[0, 1:])
        )
        now += power.transpose(after.flatten(0, 1)).view_as(now)
