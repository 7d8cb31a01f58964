"""Converts callers' sequences (single, time first, packed) to the layout of the recurrence."""

# N batch, T steps, d data channels, o outputs

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from weft.errors import DataError


class Given(NamedTuple):
    """Sequences in the layout of the recurrence, and the conversion of outputs back.

    Attributes:
        x: (N, T, d); a packed batch is right-aligned.
        force, sample: of the sequences, (N, T) and (N, T, d), or None.
        length: steps of right-aligned sequences, (N,), or None.
        packed: the original x, if it was packed; each sequence then has its own clock.
        alone: whether x was one sequence without batch dimension.
        time_first: whether x was (T, N, d).
    """

    x: Tensor
    force: Tensor | None
    sample: Tensor | None
    length: Tensor | None
    packed: PackedSequence | None
    alone: bool
    time_first: bool

    def restored(self, out: Tensor) -> Tensor | PackedSequence:
        """Outputs (N, T', o) in the original layout of x.

        If x was packed, outputs of the last step only stay a tensor.
        """
        if self.packed is None:
            return out[0] if self.alone else out.transpose(0, 1) if self.time_first else out
        if out.shape[1] != self.x.shape[1]:
            return out.transpose(0, 1) if self.time_first else out
        assert self.length is not None
        rows, count = moved(out, self.length, to_front=True), self.length
        order = self.packed.sorted_indices
        if order is not None:
            rows, count = rows[order], count[order]
        flat = pack_padded_sequence(rows, count.cpu(), batch_first=True).data
        return PackedSequence(flat, self.packed.batch_sizes, order, self.packed.unsorted_indices)


def given(
    x: Tensor | PackedSequence,
    *,
    force: Tensor | None = None,
    sample: Tensor | None = None,
    length: Tensor | None = None,
    batch_first: bool = True,
) -> Given:
    """The caller's tensors in the layout of the recurrence.

    Args:
        x: (N, T, d), or (T, N, d) if not `batch_first`; (T, d); or packed, as for `nn.GRU`.
        force, sample: laid out as x; left-aligned if x is packed, as by `pad_packed_sequence`.
        length: steps of right-aligned sequences, (N,).
        batch_first: whether N is before T.
    Raises:
        DataError: if a packed batch or a sequence without one comes with a `length`.
    """
    if isinstance(x, PackedSequence):
        if length is not None:
            raise DataError("a packed batch has its own lengths", where="length", expected="None")
        padded, count = pad_packed_sequence(x, batch_first=True)
        count = count.to(padded.device)
        beside = (_time_second(part, batch_first) for part in (force, sample))
        rows = [None if part is None else moved(part, count, to_front=False)
                for part in (padded, *beside)]  # fmt: skip
        assert rows[0] is not None
        return Given(rows[0], rows[1], rows[2], count, x, False, not batch_first)
    if x.dim() == 2:
        if length is not None:
            raise DataError(
                "one sequence has as many steps as it has", where="length", expected="None"
            )
        force, sample = (None if part is None else part.unsqueeze(0) for part in (force, sample))
        return Given(x.unsqueeze(0), force, sample, None, None, True, False)
    force, sample = (_time_second(part, batch_first) for part in (force, sample))
    x = x if batch_first or x.dim() < 2 else x.transpose(0, 1)
    return Given(x, force, sample, length, None, False, not batch_first)


def moved(values: Tensor, length: Tensor, *, to_front: bool) -> Tensor:
    """Sequences (N, T, ...) moved from the right end to the left, or back; edges are repeated."""
    steps = values.shape[1]
    padding = (steps - length)[:, None]
    place = torch.arange(steps, device=values.device) + (padding if to_front else -padding)
    place = place.clamp(0, steps - 1).view(*place.shape, *[1] * (values.dim() - 2))
    return values.gather(1, place.expand_as(values))


def _time_second(part: Tensor | None, batch_first: bool) -> Tensor | None:
    return part if part is None or batch_first or part.dim() < 2 else part.transpose(0, 1)
