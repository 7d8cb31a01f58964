"""The feedforward network: a bidirectional transformer whose weights deltas change."""

# B batch, T positions, C width, V vocabulary, L blocks

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from weft.families.feedback.nets.attention import Block, Size, norm, normal
from weft.families.feedback.nets.deltas import Deltas
from weft.families.feedback.nets.rows import Rotation, Rows
from weft.nn.dropout import dropout


class Feedforward(nn.Module):
    """A bidirectional transformer with rotary positions and a tied head; it never sees the time.

    Args:
        size: its sizes.
    Attributes:
        table: token embedding and head, (V, C).
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.table = normal(size.vocab_size, size.n_embd)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.n_layer))

    def forward(
        self,
        tokens: Tensor,
        rows: Rows,
        deltas: Deltas | None = None,
        added: Tensor | None = None,
        extra: Iterable[nn.Module] = (),
        heard: list[Tensor] | None = None,
        at: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Hidden states of noisy tokens.

        Args:
            tokens: int64 (B, T).
            rows: the positions of text.
            deltas: changes of the weights.
            added: added to the embedding, (B, T, C).
            extra: blocks that follow the network's own.
            heard: a list to which the inputs of Wo of each own block, (B, T, C), are appended.
            at: positions of the flattened batch, int64 (N,), outside of which nobody needs the
                result; None: all are needed.
        Returns: the hidden states that the head reads, (B, T, C), or (N, C) with `at`; and the
            residual stream before each own block and after the last, L + 1 of (B, T, C), of which
            the last is then (1, N, C).
        """
        x = nn.functional.embedding(tokens, self.table, sparse=_adds_rows(self.table))
        if added is not None:
            x = x + added
        x = dropout(x, self.size.dropout, self.training)
        turn, sight = rotation(tokens, rows, self.size, self.table.dtype), rows.sight()
        stream = [x]
        extra = list(extra)
        for number, block in enumerate(self.blocks):
            change = None if deltas is None else deltas.blocks[number]
            last = number == len(self.blocks) - 1 and not extra
            x = block(x, turn, sight, change, heard, at if last else None)
            stream.append(x)
        for number, block in enumerate(extra):
            x = block(x, turn, sight, at=at if number == len(extra) - 1 else None)
        read = norm(x) if at is None else norm(x)[0]
        if deltas is not None and deltas.gain is not None:
            gain = deltas.gain
            if gain.dim() == 2:
                gain = gain[:, None] if at is None else gain.index_select(0, at // tokens.shape[1])
            read = read * (1 + gain)
        return read, tuple(stream)


def _adds_rows(table: Tensor) -> bool:
    """Whether the embedding's gradient is added row by row to that of the head.

    A dense gradient is as large as the table and nearly all zeros; on a CPU with V = 50,304 it
    takes a tenth of a step.
    """
    return table.requires_grad and table.device.type == "cpu" and not torch.compiler.is_compiling()


def rotation(tokens: Tensor, rows: Rows, size: Size, dtype: torch.dtype) -> Rotation:
    """Rotary embedding of the positions of `tokens` (B, T)."""
    position = rows.position
    if position is None:
        position = torch.arange(tokens.shape[1], device=tokens.device)
    return Rotation.of(position, size.n_embd // size.n_head, dtype)
