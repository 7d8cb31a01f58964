"""Trajectories of quadratic differential equations by Taylor series, many at once in float64."""

# K order of the series, N trajectories, T samples, s state variables

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: From coefficients 0..k of the state, (k + 1, s, N), and the same in the order k..0, to the
#: coefficient k of the state's rate, (s, N).
Rate = Callable[[Tensor, Tensor], Tensor]


def integrate(
    rate: Rate, start: Tensor, step: float, samples: int, *, order: int, substeps: int = 1
) -> Tensor:
    """Samples of the solution of y' = f(y) at times 0, step, 2 step, …

    With y(t + h) = sum_k c_k h^k the equation is c_{k+1} = f_k(c_0 … c_k) / (k + 1). If f is
    quadratic, f_k is a convolution of coefficients, so that any order is possible.

    Args:
        rate: f_k as a function of c_0 … c_k and of c_k … c_0.
        start: y(0), shape (N, s), float64.
        step: time between samples.
        samples: T >= 1, the start included.
        order: K, the last power of h.
        substeps: equal steps h from one sample to the next.
    Returns: shape (N, T, s).
    """
    h = step / substeps
    # Both orders are stored, since a convolution needs both and a flip would copy.
    rising = start.new_empty(order + 1, *start.T.shape)
    falling = torch.empty_like(rising)
    value = start.T.contiguous()
    path = start.new_empty(samples, *start.T.shape)
    path[0] = value
    for sample in range(1, samples):
        for _ in range(substeps):
            rising[0] = falling[order] = value
            for k in range(order):
                torch.div(rate(rising[: k + 1], falling[order - k :]), k + 1, out=rising[k + 1])
                falling[order - k - 1] = rising[k + 1]
            # Horner's scheme
            value = rising[order].clone()
            for coefficient in falling[1:]:
                value.mul_(h).add_(coefficient)
        path[sample] = value
    return path.permute(2, 0, 1)


def product(rising: Tensor, falling: Tensor) -> Tensor:
    """Coefficient k of a product: one factor's coefficients 0..k, the other's k..0, (k + 1, N)."""
    return (rising * falling).sum(0)
