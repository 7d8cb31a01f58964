"""Data of reinforcement learning: random numbers of batches, and seeds of held-out episodes."""

# E environments, B time steps, N episodes

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from weft.data.random import derive
from weft.data.source import Batch, DataSpec, Field, Splits
from weft.families.cet.config import Config
from weft.families.cet.control.worlds import SEEDS, space

EPOCH = 100
"""Batches that count as one epoch, since experience has no natural end."""


@dataclass(frozen=True)
class Turns:
    """Random numbers for batches of experience, or seeds of episodes to evaluate on.

    The experience itself comes from the model, which acts in its environments; the source only
    supplies the random numbers that decide its actions.

    Args:
        streams: E.
        length: B.
        seeds: of held-out episodes, int64 (N,); empty for the training source.
    """

    streams: int
    length: int
    seeds: Tensor

    def __len__(self) -> int:
        return len(self.seeds) or EPOCH * self.streams

    def plan(self, seed: int, epoch: int) -> Sequence[Tensor]:
        """Batches in order, each as its number repeated for all environments, int64 (E,)."""
        numbers = torch.arange(epoch * EPOCH, (epoch + 1) * EPOCH)
        return numbers[:, None].expand(-1, self.streams).contiguous().unbind()

    def take(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """`chance`, float32 (E, B): uniform numbers in [0, 1) that decide the actions."""
        shape = (self.streams, self.length)
        return {"chance": torch.rand(shape, generator=generator, device=indices.device)}

    def batches(self, size: int) -> Iterator[Batch]:
        """`seed`, int64 (n,), n <= size: the seeds of all episodes in order."""
        for part in self.seeds.split(size):
            yield {"seed": part}

    def to(self, device: torch.device) -> Self:
        """The source itself: environments run on the CPU."""
        return self


def turns_spec(config: Config) -> DataSpec:
    """Shapes and sizes of the run's experience.

    Raises: see `worlds.make` and `worlds.space`.
    """
    assert config.control.environment is not None
    space(config.control.environment)
    held_out = config.control.episodes
    return DataSpec(
        fields={"chance": Field(())},
        batch_shape=(config.streams, config.batch_size),
        batches_per_epoch=EPOCH,
        sizes={"train": EPOCH * config.streams, "val": held_out, "test": held_out},
    )


def load_turns(config: Config) -> Splits[Turns]:
    """The run's sources; held-out episodes are the same whatever the run's seed."""

    def source(split: str, count: int) -> Turns:
        seeds = [derive(split, number) % SEEDS for number in range(count)]
        made = torch.tensor(seeds, dtype=torch.int64)
        return Turns(config.streams, config.batch_size, made)

    count = config.control.episodes
    return Splits(train=source("train", 0), val=source("val", count), test=source("test", count))
