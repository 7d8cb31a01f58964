"""Sources of batches, planned by index, so that a run resumes from its seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from weft.data.random import derive

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Field:
    """One entry of a batch.

    Args:
        shape: of one item, without batch dimensions.
        dtype: of its numbers.
        at_most: whether a batch may be smaller in each dimension, such as one padded only to its
            longest item.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    at_most: bool = False


@dataclass(frozen=True)
class DataSpec:
    """What can be known of the data from headers alone.

    Attributes:
        fields: batch entry -> shape and dtype of one item.
        batch_shape: leading dimensions of a training batch, e.g. (128,) or (streams, 128).
        batches_per_epoch: training batches in one epoch.
        sizes: items in "train", "val", "test"; 0 where a split does not exist.
        num_classes: number of classes, or 0 where there are none.
    """

    fields: Mapping[str, Field]
    batch_shape: tuple[int, ...]
    batches_per_epoch: int
    sizes: Mapping[str, int]
    num_classes: int = 0

    def example(self, device: torch.device | str = "meta") -> Batch:
        """A batch of zeros of the right shapes, for shape and cost analysis."""
        return {
            name: torch.zeros(self.batch_shape + f.shape, dtype=f.dtype, device=device)
            for name, f in self.fields.items()
        }


class Source(Protocol):
    """A split of a data set."""

    def __len__(self) -> int:
        """Number of items."""

    def plan(self, seed: int, epoch: int) -> Sequence[Tensor]:
        """The epoch's training batches as index tensors: a pure function of (seed, epoch).

        Dimension 0 is what several processes and accumulation may split.
        """

    def take(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The batch of the given items; augmentation draws only from `generator`."""

    def batches(self, size: int) -> Iterator[Batch]:
        """All items once, in order, without augmentation, `size` at a time (the last shorter)."""

    def to(self, device: torch.device) -> Self:
        """The same source with its tensors on `device`."""


S = TypeVar("S", bound=Source)


@dataclass(frozen=True)
class Splits(Generic[S]):
    """The sources of a run; `val` is None where nothing is held out."""

    train: S
    val: S | None
    test: S | None

    @property
    def shown(self) -> S:
        """The split that figures and samples show: test, else validation, else training."""
        return self.test or self.val or self.train

    def to(self, device: torch.device) -> Splits[S]:
        """All sources on `device`."""
        return Splits(
            self.train.to(device),
            None if self.val is None else self.val.to(device),
            None if self.test is None else self.test.to(device),
        )


@dataclass(frozen=True)
class TensorSource:
    """Items held as tensors, drawn by a fresh permutation each epoch, last partial batch dropped.

    Args:
        fields: batch entry -> tensor whose dimension 0 is the item.
        batch_size: items a training batch.
    """

    fields: Mapping[str, Tensor]
    batch_size: int

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def plan(self, seed: int, epoch: int) -> Sequence[Tensor]:
        """A permutation of all items, cut into batches."""
        generator = torch.Generator().manual_seed(derive(seed, epoch, "plan"))
        order = torch.randperm(len(self), generator=generator)
        count = len(self) // self.batch_size
        return order[: count * self.batch_size].view(count, self.batch_size).unbind()

    def take(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The items at `indices`, any shape of indices."""
        # index_select takes a quarter of the time of tensor[indices].
        if indices.ndim == 1:
            return {name: tensor.index_select(0, indices) for name, tensor in self.fields.items()}
        flat = indices.flatten()
        return {
            name: tensor.index_select(0, flat).view(*indices.shape, *tensor.shape[1:])
            for name, tensor in self.fields.items()
        }

    def batches(self, size: int) -> Iterator[Batch]:
        """All items in order."""
        for start in range(0, len(self), size):
            yield {name: tensor[start : start + size] for name, tensor in self.fields.items()}

    def to(self, device: torch.device) -> TensorSource:
        """The same items on `device`."""
        return type(self)({k: v.to(device) for k, v in self.fields.items()}, self.batch_size)
