"""Agreement of an update with the true gradient, with and without the part of the mean activity.

Activities are positive, so that every update, even a bad one, shares a large part with the true
gradient that is due to the mean activity. The plain cosine is therefore too high; the centred
cosine leaves this part out.
"""

# U update, V true gradient, both (O, I); R rows of errors and inputs; a dash ' transposes

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from weft.families.cet.trace.layout import channels_last
from weft.nn.precision import widened

Factors = tuple[Tensor, Tensor]
"""Errors (rows, O) and inputs (rows, I) that represent their product errors' inputs, (O, I)."""

BLOCK = 2**16
"""Entries of V computed at once: a quarter of a megabyte, which fits into the cache of a core."""


def similarity(moments: Tensor) -> Tensor:
    """Cosine, centred cosine and gain <U, V> / <V, V>, shape (..., 3); NaN where a vector is zero.

    Args:
        moments: <U, U>, <U, V>, <V, V>; row 0 plain, row 1 centred; shape (..., 2, 3).
    """
    uv, root = moments[..., 1], moments.sqrt()
    gain = uv[..., :1] / moments[..., :1, 2]
    return torch.cat([uv / (root[..., 0] * root[..., 2]), gain], dim=-1)


def moments(update: Tensor, update_mean: Tensor, true: Tensor, true_mean: Tensor) -> Tensor:
    """<U, U>, <U, V>, <V, V>, plain and without the parts due to the mean; shape (2, 3).

    Args:
        update, update_mean: U, and its part due to the mean activity, (O, I).
        true, true_mean: V, and its part due to the mean activity, (O, I).
    """
    u, v, u_mean, v_mean = (
        _in_order(widened(tensor), update) for tensor in (update, true, update_mean, true_mean)
    )
    products = []
    for left, right in ((u, v), (u - u_mean, v - v_mean)):
        products += [left @ left, left @ right, right @ right]
    return torch.stack(products).view(2, 3)


def moments_by_blocks(
    update: Tensor, update_mean: Factors, true: Factors, true_mean: Factors
) -> Tensor:
    """As `moments`, for V and both mean parts given as factors; V is computed in blocks."""
    height = max(1, BLOCK // update.shape[1])
    factors = (update_mean, true, true_mean)
    columns = zip(*(errors.split(height, dim=1) for errors, _ in factors), strict=True)
    products = []
    for rows, parts in zip(update.split(height), columns, strict=True):
        mean, full, mean_of_true = (
            part.mT @ inputs for part, (_, inputs) in zip(parts, factors, strict=True)
        )
        products.append(moments(rows, mean, full, mean_of_true))
    return reduce(torch.add, products)


def moments_by_rows(post: Tensor, errors: Tensor, x: Tensor, mean: Tensor) -> Tensor:
    """As `moments`, for U = post' x and V = errors' x[:n], from products of pairs of rows.

    <A' x, D' y> is the sum of <a, d> <x, y> over all pairs of rows, so that nothing as large as U
    is needed, which is cheap if there are few rows. Inputs are centred before any product, for
    accuracy.

    Args:
        post: shape (R, O).
        errors: shape (n, O), n <= R.
        x: inputs, shape (R, I).
        mean: of the inputs, shape (1, I).
    """
    post, errors, x, mean = map(widened, (post, errors, x, mean))
    centred = x - mean
    pairs = centred @ centred.mT
    # For centred rows x and y and the mean m: <x + m, y + m> = <x, y> + <x, m> + <m, y> + <m, m>.
    on_mean = centred @ mean.mT + 0.5 * (mean @ mean.mT)
    pairs = torch.stack([pairs + (on_mean + on_mean.mT), pairs])
    outputs = (post @ post.mT, post @ errors.mT, errors @ errors.mT)
    products = [(pairs[:, : len(inner), : inner.shape[1]] * inner).sum((1, 2)) for inner in outputs]
    return torch.stack(products, dim=1)


def _in_order(tensor: Tensor, like: Tensor) -> Tensor:
    """All entries of `tensor`, in the memory order of `like`."""
    return (tensor.permute(0, 2, 3, 1) if channels_last(like) else tensor).reshape(-1)
