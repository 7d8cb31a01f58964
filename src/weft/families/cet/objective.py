"""The loss of each item, and the selection of the items with the largest losses."""

# S streams, B time steps of a stream, K classes, m kept items of a stream

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each item.

    Args:
        logits: (..., K).
        targets: classes, int64 (...), or probabilities (..., K).
    Returns: nats, shape (...).
    """
    classes = logits.shape[-1]
    soft = targets.is_floating_point()
    flat = targets.reshape(-1, classes) if soft else targets.reshape(-1)
    losses = F.cross_entropy(logits.reshape(-1, classes), flat, reduction="none")
    return losses.view(logits.shape[:-1])


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Which items are classified correctly, bool (...); a soft target counts as its top class."""
    wanted = targets.argmax(-1) if targets.is_floating_point() else targets
    return logits.argmax(-1) == wanted


def largest(losses: Tensor, count: int, parts: int = 1) -> Tensor:
    """The time steps of the `count` largest losses of each stream, in order of time.

    With count = B - ceil(q (B - 1)) these are the items whose loss is at or above the
    (linearly interpolated) q-quantile of their stream. The count holds for equal losses too, so
    that shapes do not depend on the data.

    Args:
        losses: (S, B).
        count: m, 1 <= m <= B.
        parts: c, a divisor of B and m; part j consists of items j, j + c, ..., and contributes its
            m / c largest losses.
    Returns: time steps, int64 (S, m), ascending along dimension 1.
    """
    apart = losses.unflatten(1, (-1, parts))
    places = apart.topk(count // parts, dim=1).indices  # (S, m / c, c)
    times = places * parts + torch.arange(parts, device=losses.device)
    return times.flatten(1).sort(dim=1).values
