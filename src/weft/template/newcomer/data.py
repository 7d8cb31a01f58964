"""The points of a run: made on the fly, split by the run's seed."""

# N points

from __future__ import annotations

import math

import torch

from weft.data.random import derive
from weft.data.source import DataSpec, Field, Splits, TensorSource

from .config import Config


def data_spec(config: Config) -> DataSpec:
    """Shapes and sizes, known before a point is made."""
    return DataSpec(
        fields={"x": Field((1,)), "y": Field((1,))},
        batch_shape=(config.batch_size,),
        batches_per_epoch=config.trained_on // config.batch_size,
        sizes={"train": config.trained_on, "val": config.held_out, "test": config.held_out},
    )


def load_splits(config: Config) -> Splits[TensorSource]:
    """Points (N, 1) on two periods of a sine, with noise; x lies in [-1, 1].

    The points are the same for every seed; which of them validate and test, the seed decides.
    """
    made = torch.Generator().manual_seed(derive("points"))
    x = 2 * torch.rand(config.data.items, 1, generator=made) - 1
    noise = torch.randn(config.data.items, 1, generator=made)
    y = torch.sin(2 * math.pi * x) + config.data.noise * noise

    chosen = torch.Generator().manual_seed(derive(config.seed, "held-out"))
    order = torch.randperm(config.data.items, generator=chosen)
    held = config.held_out

    def source(items: torch.Tensor) -> TensorSource:
        return TensorSource({"x": x[items], "y": y[items]}, config.batch_size)

    return Splits(
        train=source(order[2 * held :]),
        val=source(order[:held]),
        test=source(order[held : 2 * held]),
    )
