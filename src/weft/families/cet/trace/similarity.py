"""How well an update agrees with the true gradient, as it is and without the mean activity.

Activities are positive, so every update, however bad, shares with the true gradient a large part
that is due to their mean: the plain cosine flatters (cet.md section 5), the centred one does not.
"""

# U update, V true gradient, both (O, I); R rows of errors and inputs; a dash ' transposes

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from weft.families.cet.trace.layout import channels_last
from weft.nn.precision import widened

Factors = tuple[Tensor, Tensor]
"""Errors (rows, O) and inputs (rows, I) that stand for their product, errors' inputs."""

BLOCK = 2**16
"""Entries of V made at once: a quarter of a megabyte stays in the cache of a core."""


def similarity(moments: Tensor) -> Tensor:
    """Cosine, centred cosine and gain <U, V> / <V, V>, shape (..., 3); NaN where a vector is zero.

    Args:
        moments: <U, U>, <U, V>, <V, V>, in row 0 as they are, in row 1 centred; shape (..., 2, 3).
    """
    uv, root = moments[..., 1], moments.sqrt()
    gain = uv[..., :1] / moments[..., :1, 2]
    return torch.cat([uv / (root[..., 0] * root[..., 2]), gain], dim=-1)


def moments(update: Tensor, update_mean: Tensor, true: Tensor, true_mean: Tensor) -> Tensor:
    """<U, U>, <U, V>, <V, V>, as they are and less the parts due to the mean; shape (2, 3).

    Args: four tensors of one shape: U, its mean part, V, its mean part.
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
    """As `moments`, for V and the mean parts given by factors; V never exists as a whole."""
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
    """As `moments`, for U = post' x and V = errors' x[:n], from products of rows with rows.

    <A' x, D' y> is the sum over all pairs of rows of <a, d> <x, y>: nothing as large as U is made,
    which is the cheap way while rows are few, and accurate: inputs are centred before any product.

    Args:
        post: shape (R, O).
        errors: shape (n, O), n <= R.
        x: inputs, shape (R, I).
        mean: of the inputs, shape (1, I).
    """
    post, errors, x, mean = map(widened, (post, errors, x, mean))
    centred = x - mean
    pairs = centred @ centred.mT
    # Of two rows less their mean m, <x, y> is short of <x, m> + <m, y> + <m, m>.
    on_mean = centred @ mean.mT + 0.5 * (mean @ mean.mT)
    pairs = torch.stack([pairs + (on_mean + on_mean.mT), pairs])
    outputs = (post @ post.mT, post @ errors.mT, errors @ errors.mT)
    products = [(pairs[:, : len(inner), : inner.shape[1]] * inner).sum((1, 2)) for inner in outputs]
    return torch.stack(products, dim=1)


def _in_order(tensor: Tensor, like: Tensor) -> Tensor:
    """All entries, in the order in which those of `like` lie in memory."""
    return (tensor.permute(0, 2, 3, 1) if channels_last(like) else tensor).reshape(-1)
