"""Sources of token rows: one chunk per row, or several that do not attend to each other."""

# M chunks, R rows of an epoch, B rows of a batch, T positions of a row, K numbers of a row's index

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from weft.data.random import derive
from weft.data.source import Batch
from weft.families.feedback.sets.chunks import Chunks
from weft.families.feedback.sets.packing import pack

_NONE = -1


@dataclass(frozen=True)
class ChunkSource:
    """One chunk per row.

    Batches have "tokens", int64 (B, T), with [PAD] at the end of rows, and "given", bool (B, T), if
    some tokens are context only and not learnt.

    Args:
        chunks: the chunks.
        batch_size: rows in a training batch.
        bucket_width: rows are padded to a multiple of it, or to `block_size` if that is less.
        by_length: whether a training batch has chunks of similar length, for little padding.
    """

    chunks: Chunks
    batch_size: int
    bucket_width: int = 1
    by_length: bool = False

    def __len__(self) -> int:
        return len(self.chunks)

    @property
    def batches_per_epoch(self) -> int:
        """Training batches in an epoch; the rows that fill no batch differ between epochs."""
        return len(self) // self.batch_size

    def plan(self, seed: int, epoch: int) -> Sequence[Tensor]:
        """The epoch's batches: a random order of the chunks, divided into batches.

        An index is (B, T / bucket_width) and repeats the chunk's number. Its shape gives the width
        of the batch, so that no value has to be read from the device.
        """
        generator = _generator(seed, epoch)
        count = self.batches_per_epoch
        order = torch.randperm(len(self), generator=generator)[: count * self.batch_size]
        if self.by_length:
            # The sort is stable: chunks of one bucket stay in random order.
            order = order[self._tiles(order).argsort(stable=True)]
        batches = list(order.view(count, self.batch_size).unbind())
        if self.by_length:
            batches = [batches[i] for i in torch.randperm(count, generator=generator)]
        return [batch[:, None].expand(-1, int(self._tiles(batch).amax())) for batch in batches]

    def take(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The rows that an index of the plan, or a part of it, stands for."""
        width = min(indices.shape[1] * self.bucket_width, self.chunks.block_size)
        return self.chunks.rows(indices[:, 0], width)

    def batches(self, size: int) -> Iterator[Batch]:
        """All chunks in order, one a row, each batch as wide as its longest."""
        chunks = self.chunks
        for numbers in torch.split(torch.arange(len(self)), size):
            width = int(chunks.sizes[numbers].amax())
            yield chunks.rows(numbers.to(chunks.tokens.device), width)

    def to(self, device: torch.device) -> Self:
        """The same source with its tokens on `device`."""
        return replace(self, chunks=self.chunks.to(device))

    def _tiles(self, numbers: Tensor) -> Tensor:
        """Length of each chunk in units of `bucket_width`, rounded up."""
        return -(-self.chunks.sizes[numbers] // self.bucket_width)


@dataclass(frozen=True)
class PackedSource(ChunkSource):
    """Several chunks in each row of `block_size` tokens; attention stays within a chunk.

    Training batches also have "document", the number of a position's chunk in its row, -1 on
    padding, and "position", which counts from 0 in every chunk; both int64 (B, T). Evaluation
    batches have one chunk per row.
    """

    @property
    def batches_per_epoch(self) -> int:
        """Training batches in an epoch.

        Rows are packed by length only, the longest chunk first, so that the number is the same in
        every epoch.
        """
        longest_first = self.chunks.sizes.sort(descending=True).values
        return len(pack(longest_first.tolist(), self.chunks.block_size)) // self.batch_size

    def plan(self, seed: int, epoch: int) -> Sequence[Tensor]:
        """The epoch's batches: newly packed rows in random order; an index lists a row's chunks.

        Chunks of equal length change places between epochs. Indices are (B, K), -1 where a row has
        fewer chunks than another one of its batch.
        """
        generator = _generator(seed, epoch)
        order = torch.randperm(len(self), generator=generator)
        order = order[self.chunks.sizes[order].argsort(descending=True, stable=True)]
        rows = pack(self.chunks.sizes[order].tolist(), self.chunks.block_size)
        count = len(rows) // self.batch_size
        chosen = torch.randperm(len(rows), generator=generator)[: count * self.batch_size]
        return [
            torch.nn.utils.rnn.pad_sequence(
                [order[rows[row]] for row in batch], batch_first=True, padding_value=_NONE
            )
            for batch in chosen.view(count, self.batch_size).tolist()
        ]

    def take(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The packed rows that an index of the plan, or a part of it, stands for."""
        chunks = self.chunks
        absent = indices == _NONE
        number = indices.masked_fill(absent, 0)
        length = chunks.length[number].masked_fill(absent, 0)
        end = length.cumsum(1)
        place = torch.arange(chunks.block_size, device=indices.device).expand(len(indices), -1)
        document = torch.searchsorted(end, place.contiguous(), right=True)
        inside = place < end[:, -1:]
        document = document.masked_fill(~inside, 0)
        position = (place - (end - length).gather(1, document)).masked_fill(~inside, 0)
        start = chunks.start[number].gather(1, document)
        return {
            **chunks.at(start + position, inside),
            "document": document.masked_fill(~inside, _NONE),
            "position": position,
        }


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, epoch, "plan"))
