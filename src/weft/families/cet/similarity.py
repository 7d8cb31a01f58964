"""How well an update agrees with the true gradient, as it is and without the mean activity.

Activities are positive, so every update, however bad, shares with the true gradient a large part
that is due to their mean: the plain cosine flatters (cet.md section 5), the centred one does not.
"""

# U update, V true gradient, shape (O, I); a dash ' transposes

from __future__ import annotations

import torch
from torch import Tensor

Factors = tuple[Tensor, Tensor]
"""Errors (rows, O) and inputs (rows, I) that stand for their product, errors' inputs."""

BLOCK = 2**16
"""Entries of V made at once: a quarter of a megabyte stays in the cache of a core."""


def similarity(moments: Tensor) -> Tensor:
    """Cosine, centred cosine and gain <U, V> / <V, V>, shape (3,); NaN where a vector is zero.

    Args:
        moments: inner products of U and V, as they are and centred, shape (2, 2, 2).
    """
    uv, vv = moments[:, 0, 1], moments[:, 1, 1]
    return torch.cat([uv / (moments[:, 0, 0] * vv).sqrt(), uv[:1] / vv[:1]])


def moments(update: Tensor, update_mean: Tensor, true: Tensor, true_mean: Tensor) -> Tensor:
    """Inner products [[<U, U>, <U, V>], [<V, U>, <V, V>]], as they are and less the mean parts.

    Args: four tensors of one shape: U, its mean part, V, its mean part.
    Returns: shape (2, 2, 2), float64 where the device has it.
    """
    whole = _wide(torch.stack([update, true]).flatten(1))
    centred = whole - torch.stack([update_mean, true_mean]).flatten(1)
    return torch.stack([whole @ whole.mT, centred @ centred.mT])


def gram_moments(post: Tensor, errors: Tensor, x: Tensor) -> Tensor:
    """As `moments`, for U = post' x and V = errors' x[:n], from products of rows with rows.

    <A' x, D' x> is the sum over all pairs of rows of <a, d> <x, x>: no product is as large as U,
    so this is the cheap way while rows are few.

    Args:
        post: A, shape (R, O).
        errors: D, shape (n, O), n <= R.
        x: inputs, shape (R, I); their mean is taken out for the centred moments.
    """
    rows, arrived = len(x), len(errors)
    both = torch.cat([post, errors])
    pairs = _wide(both @ both.mT)
    mean = x.mean(0)
    centred = x - mean
    cross = centred @ mean
    centred_pairs = _wide(centred @ centred.mT)
    whole_pairs = centred_pairs + (cross[:, None] + cross + mean @ mean)
    moments = []
    for inputs in (whole_pairs, centred_pairs):
        uv = (pairs[:rows, rows:] * inputs[:, :arrived]).sum()
        uu = (pairs[:rows, :rows] * inputs).sum()
        vv = (pairs[rows:, rows:] * inputs[:arrived, :arrived]).sum()
        moments += [uu, uv, uv, vv]
    return torch.stack(moments).view(2, 2, 2)


def factored_moments(
    update: Tensor, update_mean: Factors, true_centred: Factors, true_mean: Factors
) -> Tensor:
    """As `moments`, for V and the mean parts given by factors; V never exists as a whole.

    The mean parts have few rows (k), so their products with U and V cost next to nothing. What is
    left of U without its mean may be a thousandth of it; products are rounded row by row and summed
    in double precision, which leaves the centred cosine right to about 1e-5.

    Args:
        update: U, shape (O, I).
        update_mean: factors of its mean part, k rows.
        true_centred: factors of V less its mean part.
        true_mean: factors of that mean part, k rows.
    """
    precise = torch.promote_types(update.dtype, torch.float32)
    update, errors, inputs = (tensor.to(precise) for tensor in (update, *true_centred))
    post, pre = (torch.cat(pair).to(precise) for pair in zip(update_mean, true_mean, strict=True))
    height = max(1, BLOCK // update.shape[1])
    uv, vv = [], []
    for rows, errors_of_rows in zip(update.split(height), errors.split(height, 1), strict=True):
        block = (errors_of_rows.mT @ inputs).view(-1)
        uv.append(rows.reshape(-1) @ block)
        vv.append(block @ block)
    u_on_v, v_on_v = _wide(torch.stack(uv + vv)).view(2, -1).sum(1)
    u_on_u = _wide(torch.linalg.vector_norm(update, dim=1)).square().sum()
    products = torch.stack([u_on_u, u_on_v, u_on_v, v_on_v]).view(2, 2)
    on_pre = torch.stack([update @ pre.mT, errors.mT @ (inputs @ pre.mT)])  # (2, O, 2k)
    mixed = (_wide(on_pre) * post.mT).sum(1).view(2, 2, -1).sum(2)
    means = ((_wide(post) @ _wide(post).mT) * (pre @ pre.mT)).view(2, len(pre) // 2, 2, -1)
    # as they are: U, V + its mean part; centred: U - its mean part, V
    shift = torch.tensor([[0, 1], [-1, 0]], dtype=products.dtype, device=products.device)
    shifted = mixed * shift[:, None]
    both = means.sum((1, 3)) * shift[:, None] * shift[:, :, None]
    return products + shifted + shifted.mT + both


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)
