"""Batch normalisation by a batch's own statistics, without moving the running ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Within the block batch norms use the statistics of each batch, and keep the running ones.

    Args:
        model: in any mode; afterwards its norms are in the mode they were in before.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.training, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, (training, tracks) in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = training, tracks
