"""Adaptation of a feedforward network: by its own weights, a LoRA, or rows of a generator."""

# B batch, C width, L blocks, r rank, z matrices of a stack, n rows written for a block

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from weft.families.feedback.nets.attention import Block, Size, normal
from weft.families.feedback.nets.deltas import BlockDeltas, Deltas, Factors
from weft.families.feedback.nets.feedforward import Feedforward
from weft.nn.dense import linear


@dataclass(frozen=True)
class Stack:
    """Matrices of a block that read the same input.

    Attributes:
        name: field of `BlockDeltas`, and parameter of `Block`.
        count: z.
        inputs, outputs: of each of them.
    """

    name: str
    count: int
    inputs: int
    outputs: int


def matrices(size: Size, *, mlp: bool) -> tuple[Stack, ...]:
    """The matrices of a block that deltas change, in the order of their rows: q, k, v, o, (W1, W2).

    Args:
        size: of the network.
        mlp: whether W1 and W2 change too.
    """
    width = size.n_embd
    stacks = (Stack("qkv", 3, width, width), Stack("out", 1, width, width))
    if not mlp:
        return stacks
    return (*stacks, Stack("up", 1, width, 4 * width), Stack("down", 1, 4 * width, width))


class Writer(nn.Module):
    """Turns rows into deltas, and has the parameters of static deltas.

    The rows are A and B of the first matrix, A and B of the second, and so on, r rows each. With
    `raw` they are the factors themselves. Otherwise each row is divided by its root mean square,
    and

        A = A_static + row_A / sqrt(inputs),    B = (B_static + g · row_B) / sqrt(r),

    where B_static and the learned gain g (an entry for each output) start at 0, and A_static from
    N(0, 1 / sqrt(inputs)). All deltas therefore start at 0, have a total rank of r, and are bounded
    by g, however large the rows become (rsLoRA, arXiv 2312.03732).

    Args:
        stacks: the matrices of a block that deltas change.
        size: of the network.
        rank: r.
        static, dynamic: whether deltas have a static part and one that depends on the input.
        gain: whether the final norm gets a gain too, a linear map of the summary that starts at 0.
        raw: see above; for dynamic deltas only.
        together: whether all r rows of a matrix's B are divided by one common root mean square, so
            that their proportions are kept.
    """

    def __init__(
        self,
        stacks: Sequence[Stack],
        size: Size,
        rank: int,
        *,
        static: bool,
        dynamic: bool,
        gain: bool = False,
        raw: bool = False,
        together: bool = False,
    ) -> None:
        super().__init__()
        self.stacks, self.layers, self.rank, self.raw = tuple(stacks), size.n_layer, rank, raw
        self.together = together
        width = size.n_embd
        empty = nn.ParameterDict
        self.static_A, self.static_B, self.gain, self.widen = empty(), empty(), empty(), empty()
        for stack in stacks:
            name, count, inputs, outputs = stack.name, stack.count, stack.inputs, stack.outputs
            if static:
                rows = (size.n_layer, count * rank)
                self.static_A[name] = normal(*rows, inputs, std=inputs**-0.5)
                self.static_B[name] = nn.Parameter(torch.zeros(*rows, outputs))
            if dynamic and not raw:
                self.gain[name] = nn.Parameter(torch.zeros(size.n_layer, count, 1, outputs))
            if dynamic and max(inputs, outputs) != width:
                # Rows are C wide; those of the MLP's inner side are not.
                self.widen[name] = normal(max(inputs, outputs), width, std=width**-0.5)
        self.static_gain = nn.Parameter(torch.zeros(width)) if gain and static else None
        self.dynamic_gain = nn.Parameter(torch.zeros(width, width)) if gain and dynamic else None

    def forward(self, rows: Sequence[Tensor] | None, summary: Tensor | None) -> Deltas:
        """The deltas.

        Args:
            rows: (B, n, C) for each feedforward block, lowest first; None: static deltas alone.
            summary: (B, C), from which the final gain is written; may be None without one.
        """
        blocks = tuple(
            self._block(layer, None if rows is None else rows[layer])
            for layer in range(self.layers)
        )
        return Deltas(blocks, self._final_gain(summary))

    def _block(self, layer: int, rows: Tensor | None) -> BlockDeltas:
        if rows is None:
            return BlockDeltas(**{s.name: self._factors(s, layer, None) for s in self.stacks})
        sizes = [2 * stack.count * self.rank for stack in self.stacks]
        parts = zip(self.stacks, rows.split(sizes, 1), strict=True)
        return BlockDeltas(**{s.name: self._factors(s, layer, part) for s, part in parts})

    def _factors(self, stack: Stack, layer: int, rows: Tensor | None) -> Factors:
        if rows is None:
            down, up = self.static_A[stack.name][layer], self.static_B[stack.name][layer]
            return Factors(down, up * self.rank**-0.5, stack.count)
        # (B, z, A or B, r, C)
        down, up = rows.unflatten(1, (stack.count, 2, self.rank)).unbind(2)
        if self.raw:
            return Factors(down.flatten(1, 2), up.flatten(1, 2), stack.count)
        down, up = _normalised(down), _normalised(up, 2 if self.together else 1)
        if stack.name in self.widen:
            wide = self.widen[stack.name]
            down, up = (
                (linear(down, wide), up)
                if stack.inputs > stack.outputs
                else (down, linear(up, wide))
            )
        down = (down * stack.inputs**-0.5).flatten(1, 2)
        up = (up * self.gain[stack.name][layer]).flatten(1, 2)
        if stack.name in self.static_A:
            down = down + self.static_A[stack.name][layer]
            up = up + self.static_B[stack.name][layer]
        return Factors(down, up * self.rank**-0.5, stack.count)

    def _final_gain(self, summary: Tensor | None) -> Tensor | None:
        if summary is None or self.dynamic_gain is None:
            return self.static_gain
        gain = linear(summary, self.dynamic_gain)
        return gain if self.static_gain is None else gain + self.static_gain


def _normalised(rows: Tensor, dims: int = 1) -> Tensor:
    """Rows divided by their root mean square over the last `dims` dimensions."""
    return nn.functional.rms_norm(rows, rows.shape[-dims:], eps=1e-6)


def train_only(base: Feedforward, scope: Literal["none", "attn", "all"]) -> None:
    """Freezes the feedforward weights outside `scope`; `attn` are q, k, v, o of every block."""
    base.requires_grad_(scope == "all")
    if scope == "attn":
        for block in base.blocks:
            assert isinstance(block, Block)
            block.qkv.requires_grad_()
            block.out.requires_grad_()


@torch.no_grad()
def merge(base: Feedforward, deltas: Deltas) -> None:
    """Adds deltas that all samples share to the weights of `base`.

    Raises:
        ValueError: if deltas differ between samples, or include a gain of the final norm, which
            has no weight.
    """
    if deltas.gain is not None:
        raise ValueError("the final norm has no weight that a gain could be merged into")
    for block, changes in zip(base.blocks, deltas.blocks, strict=True):
        for name, factors in changes.items():
            if factors.A.dim() == 3:
                raise ValueError("deltas that differ from sample to sample cannot be merged")
            weight: nn.Parameter = getattr(block, name)
            weight.add_(factors.dense())
