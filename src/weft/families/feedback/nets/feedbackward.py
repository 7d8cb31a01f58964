"""The feedback network: a trunk over the text, and tokens that read each block's deltas from it."""

# B batch, T positions, C width, L blocks, n tokens read out for a block

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weft.families.feedback.nets.attention import Block, Size, normal
from weft.families.feedback.nets.rows import Rotation, Rows


class FeedbackBlock(nn.Module):
    """A trunk step, x <- first(x), and a read-out: the last n outputs of second([x ; table]).

    Args:
        size: of the network.
        tokens: n.
    """

    def __init__(self, size: Size, tokens: int) -> None:
        super().__init__()
        self.first, self.second = Block(size), Block(size)
        self.table = normal(tokens, size.n_embd)


class Feedbackward(nn.Module):
    """L steps, each of which writes for one feedforward block; there is no final norm.

    Args:
        size: of the network.
        tokens: n.
        recurrent: whether all steps share one block; a learned embedding of the feedforward block
            is then added to x before each step.
        reverse: whether step i writes for block L - 1 - i; otherwise for block i.
        first_position: rotary position of the first of the n tokens: a number; `text`: T, which
            depends on padding; None: they have no position.
    """

    def __init__(
        self,
        size: Size,
        tokens: int,
        *,
        recurrent: bool,
        reverse: bool,
        first_position: int | str | None,
    ) -> None:
        super().__init__()
        layers = size.n_layer
        self.size, self.reverse, self.first_position = size, reverse, first_position
        self.blocks = nn.ModuleList(
            FeedbackBlock(size, tokens) for _ in range(1 if recurrent else layers)
        )
        self.layer_table = normal(layers, size.n_embd) if recurrent else None

    @property
    def order(self) -> list[int]:
        """The feedforward block that each step writes for."""
        steps = list(range(self.size.n_layer))
        return steps[::-1] if self.reverse else steps

    def block(self, step: int) -> FeedbackBlock:
        """The block of a step."""
        block = self.blocks[0 if self.layer_table is not None else step]
        assert isinstance(block, FeedbackBlock)
        return block

    def forward(
        self, x: Tensor, rows: Rows, turn: Rotation, added: Sequence[Tensor] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """The read-out of every block.

        Args:
            x: the embedded text, (B, T, C).
            rows: the positions of text.
            turn: rotary embedding of the text.
            added: for each feedforward block, lowest first, what is added to x before the step that
                writes for it, (B, T, C).
        Returns: (B, n, C) for each feedforward block, lowest first, and x after the last step.
        """
        count = len(self.block(0).table)
        turn_tokens = self._turn(count, x)
        sight, sight_of_tokens = rows.sight(), rows.sight_of_weights(count)
        written: dict[int, Tensor] = {}
        for step, layer in enumerate(self.order):
            block = self.block(step)
            if added is not None:
                x = x + added[layer]
            if self.layer_table is not None:
                x = x + self.layer_table[layer]
            x = block.first(x, turn, sight)
            written[layer] = block.second.read(x, block.table, turn, turn_tokens, sight_of_tokens)
        return [written[layer] for layer in range(len(written))], x

    def _turn(self, count: int, x: Tensor) -> Rotation | None:
        """Rotary embedding of the n tokens; None if they have no position."""
        first = x.shape[1] if self.first_position == "text" else self.first_position
        if first is None:
            return None
        position = torch.arange(count, device=x.device) + int(first)
        dim = self.size.n_embd // self.size.n_head
        return Rotation.of(position, dim, self.block(0).table.dtype)
