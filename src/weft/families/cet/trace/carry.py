"""Carry mode: activity and errors kept for the next batch, in which the streams continue."""

# S streams of B items make R rows; E = B + late errors kept, P = B + past steps kept

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families.cet.trace.memory import Memory


class Past(NamedTuple):
    """Earlier batches and the current one joined in time; rows are ordered stream by stream.

    Attributes:
        x: inputs, shape (S P, ...).
        hidden: outputs of the ReLU, those of earlier batches as 0 or 1, shape (S P, ...); None if
            there is no ReLU.
        entered: whether the activity of a step is in the trace, bool (S, P).
        errors: at the layer's output, shape (S E, ...).
    """

    x: Tensor
    hidden: Tensor | None
    entered: Tensor
    errors: Tensor


class History(Memory):
    """The last stored activity, gates and errors of a layer, for each stream.

    All buffers are empty until the first batch, which follows zeros. They are part of checkpoints,
    and take the shapes of the checkpoint they are loaded from.

    Attributes:
        x: inputs, shape (S, P - B, ...).
        opened: gate of the ReLU, bool, shape (S, P - B, ...); stays empty without a ReLU.
        entered: whether the activity of a step is in the trace, bool (S, P - B).
        errors: at the layer's output, shape (S, E - B, ...).
        turn: number of batches that this object has received.
    """

    x: Tensor
    opened: Tensor
    entered: Tensor
    errors: Tensor

    def __init__(self) -> None:
        super().__init__(x=None, opened=torch.bool, entered=torch.bool, errors=None)
        self.turn = 0

    def check(self, turn: int, name: str) -> None:
        """Refuses a second backward pass for one batch.

        Args:
            turn: `self.turn` at the forward pass.
            name: of the layer.
        Raises:
            UsageError: if a batch has been received since then.
        """
        if turn != self.turn:
            raise UsageError(
                f"layer `{name}` gets a second error for one batch, by a second call or a "
                "second backward pass",
                where="carry",
                expected="one call and one backward pass a batch, as they advance the stream",
                hint="convert(model, ..., carry=False)",
            )

    def advance(
        self,
        matrix: Tensor,
        streams: int,
        x: Tensor,
        hidden: Tensor | None,
        entered: Tensor | None,
        errors: Tensor,
    ) -> Past:
        """Joins the current batch to the earlier ones, and stores what the next batch will need.

        Args:
            matrix: M of the batch, shape (E, P).
            streams: S.
            x, hidden, errors: of the current batch, R rows each.
            entered: which rows' activity enters the trace, bool (R,); all if None.
        Raises:
            UsageError: if the number of streams or the shapes differ from those of earlier batches.
        """
        self.turn += 1
        late, past = (size - len(x) // streams for size in matrix.shape)
        if entered is None:
            entered = torch.ones(len(x), dtype=torch.bool, device=x.device)
        every_x, self.x = _join(self.x, x, streams, past)
        every_entered, self.entered = _join(self.entered, entered, streams, past)
        every_error, self.errors = _join(self.errors, errors, streams, late)
        if hidden is not None:
            hidden, gate = _join(self.opened, hidden, streams, past)
            self.opened = gate > 0
        return Past(every_x, hidden, every_entered.view(streams, -1), every_error)


def latest(rows: Tensor, streams: int, steps: int) -> Tensor:
    """The last `steps` steps of each stream of `rows`, shape (S steps, ...)."""
    if len(rows) == streams * steps:
        return rows
    return rows.unflatten(0, (streams, -1))[:, -steps:].flatten(0, 1)


def _join(past: Tensor, rows: Tensor, streams: int, steps: int) -> tuple[Tensor, Tensor]:
    """`past` followed by `rows` in each stream, as rows; and its last `steps`, (S, steps, ...)."""
    now = rows.unflatten(0, (streams, -1))
    expected = (streams, steps, *now.shape[2:])
    if past.numel() == 0:
        past = now.new_zeros(expected)
    elif past.shape != expected:
        raise UsageError(
            f"a batch leaves {expected} to the next one, but those before it {tuple(past.shape)}",
            where="carry",
            expected="streams, delay, order and shapes as in the batches before: "
            "(streams, steps kept, ...)",
            hint="convert(model, ...) again begins a new stream",
        )
    joined = torch.cat([past.to(now), now], dim=1)
    kept = joined[:, -steps:].clone(memory_format=torch.contiguous_format)
    return joined.flatten(0, 1), kept
