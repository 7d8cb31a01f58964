"""Accuracy and cross-entropy of a classifier."""

# N items, K classes

from __future__ import annotations

import torch
from torch import nn

from weft.families.cet.objective import correct, cross_entropy
from weft.families.cet.sets.stream import StreamSource


def accuracy(model: nn.Module, source: StreamSource, size: int) -> dict[str, float]:
    """Accuracy and loss over all items of `source`.

    Args:
        model: in eval mode.
        source: the items, served without blends.
        size: items in a batch.
    Returns: `accuracy` in [0, 1], and `loss`, the mean cross-entropy in nats.
    """
    right, losses = [], []
    for batch in source.batches(size):
        logits = model(batch["image"])
        right.append(correct(logits, batch["label"]).sum())
        losses.append(cross_entropy(logits.float(), batch["label"]).sum())
    # One transfer; a count of items is exact in float32.
    totals = torch.stack([torch.stack(right).sum().float(), torch.stack(losses).sum()])
    hits, loss = totals.tolist()
    return {"accuracy": hits / len(source), "loss": loss / len(source)}
