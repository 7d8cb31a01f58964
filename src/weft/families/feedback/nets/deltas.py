"""Low-rank changes of weights: their factors, and the two ways to multiply by them."""

# B batch, T positions, L blocks, r rank, z matrices that read the same input, I inputs, O outputs

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from weft.nn.dense import by_torch, linear, product
from weft.nn.once import once


@dataclass(frozen=True)
class Factors:
    """Delta W_m = B_m^T A_m of z stacked matrices that read the same input.

    Attributes:
        A: (B, z r, I), or (z r, I) if it is the same for all samples.
        B: (B, z r, O), or (z r, O); it includes any scale.
        count: z.
    """

    A: Tensor
    B: Tensor
    count: int = 1

    @property
    def rank(self) -> int:
        """r."""
        return self.A.shape[-2] // self.count

    def dense(self) -> Tensor:
        """The stacked deltas, (B, z O, I) or (z O, I)."""
        down = self.A.unflatten(-2, (self.count, self.rank))
        up = self.B.unflatten(-2, (self.count, self.rank))
        stacked: Tensor = (up.transpose(-1, -2) @ down).flatten(-3, -2)
        return stacked

    def map(self, change: Callable[[Tensor], Tensor]) -> Factors:
        """Factors with `change` applied to A and B."""
        return replace(self, A=change(self.A), B=change(self.B))


@dataclass(frozen=True)
class BlockDeltas:
    """The deltas of one block; None for matrices without one.

    Attributes:
        qkv: of Wq, Wk, Wv, stacked.
        out: of Wo.
        up, down: of W1 and W2.
    """

    qkv: Factors | None = None
    out: Factors | None = None
    up: Factors | None = None
    down: Factors | None = None

    @property
    def mlp_varies(self) -> bool:
        """Whether the MLP's deltas differ between samples."""
        return any(part is not None and part.A.dim() == 3 for part in (self.up, self.down))

    def items(self) -> Iterator[tuple[str, Factors]]:
        """Name and factors of each stack of matrices that has a delta."""
        for field in fields(self):
            factors = getattr(self, field.name)
            if factors is not None:
                yield field.name, factors


@dataclass(frozen=True)
class Deltas:
    """The deltas of all blocks, lowest first.

    Attributes:
        blocks: one for each feedforward block.
        gain: g of the final norm's output h (1 + g), (B, C) or (C,); None: 0.
    """

    blocks: tuple[BlockDeltas, ...]
    gain: Tensor | None = None

    def rolled(self, shift: int = 1) -> Deltas:
        """Gives every sample the deltas of the sample `shift` before it; shared ones stay.

        The difference that this makes to the loss shows how much deltas depend on the input.
        """

        def roll(x: Tensor) -> Tensor:
            return x.roll(shift, 0)

        blocks = tuple(
            BlockDeltas(**{n: f.map(roll) if f.A.dim() == 3 else f for n, f in block.items()})
            for block in self.blocks
        )
        gain = self.gain
        return Deltas(blocks, roll(gain) if gain is not None and gain.dim() == 2 else gain)

    def norms(self) -> dict[str, Tensor]:
        """Root mean square of each block's deltas over samples and entries, matrix -> (L,)."""
        names = [name for name, _ in self.blocks[0].items()]
        return {
            name: torch.stack([_rms(getattr(block, name)) for block in self.blocks])
            for name in names
        }


def adapted_linear(x: Tensor, weight: Tensor, factors: Factors | None) -> Tensor:
    """x (W + B^T A)^T, with the deltas of each sample.

    Args:
        x: (B, T, I).
        weight: W, (z O, I).
        factors: None: no delta.
    Returns: (B, T, z O).
    """
    if factors is None:
        return linear(x, weight)
    if prefers_factors(factors, x.shape[-2]):
        return _by_factors(x, weight, factors)
    changed = weight + factors.dense()
    return linear(x, changed) if changed.dim() == 2 else torch.bmm(x, changed.transpose(1, 2))


def prefers_factors(factors: Factors, length: int) -> bool:
    """Whether (x A^T) B costs a training step no more than x (W + B^T A)^T.

    Besides the product with W, a matrix of one sample costs 6 T r (I + O) operations with factors;
    otherwise 6 r I O for the delta and 2 T I O for its gradient. Without training the same form is
    used, so that results agree. A delta that all samples share is always used as factors.
    """
    if factors.A.dim() == 2:
        return True
    inputs, outputs = factors.A.shape[-1], factors.B.shape[-1]
    by_factors = 6 * length * factors.rank * (inputs + outputs)
    return by_factors <= (6 * factors.rank + 2 * length) * inputs * outputs


def _by_factors(x: Tensor, weight: Tensor, factors: Factors) -> Tensor:
    if factors.A.dim() == 3 and not by_torch(x):
        out: Tensor = _Factored.apply(x, weight, factors.A, factors.B, factors.count)
        return out
    plain = linear(x, weight)
    if factors.A.dim() == 2:
        codes = linear(x, factors.A)
    else:
        codes = torch.bmm(x, factors.A.transpose(1, 2))
    parts = zip(
        plain.chunk(factors.count, -1),
        codes.chunk(factors.count, -1),
        factors.B.chunk(factors.count, -2),
        strict=True,
    )
    return torch.cat([_add(y, code, up) for y, code, up in parts], -1)


def _add(y: Tensor, code: Tensor, up: Tensor) -> Tensor:
    """y + code B, where B may differ between samples."""
    if up.dim() == 2:
        return y + linear(code, up.t())
    return torch.baddbmm(y, code, up)


class _Factored(torch.autograd.Function):
    """x W^T + (x A^T) B, with factors of each sample, added in place."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, count: int
    ) -> Tensor:
        codes = torch.bmm(x, down.mT)
        out = product(x.flatten(0, 1), weight).unflatten(0, x.shape[:2])
        for y, code, rows in zip(
            out.chunk(count, 2), codes.chunk(count, 2), up.chunk(count, 1), strict=True
        ):
            torch.baddbmm(y, code, rows, out=y)
        ctx.save_for_backward(x, weight, codes, down, up)
        ctx.count = count
        return out

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, codes, down, up = ctx.saved_tensors
        wants_x, wants_weight, wants_down, wants_up, _ = ctx.needs_input_grad
        slopes, parts = grad.flatten(0, 1), grad.chunk(ctx.count, 2)
        of_x = of_weight = of_down = of_up = None
        if wants_weight:
            of_weight = product(slopes.t(), x.flatten(0, 1).t())
        if wants_up:
            sides = zip(codes.chunk(ctx.count, 2), parts, strict=True)
            of_up = torch.cat([torch.bmm(code.mT, part) for code, part in sides], 1)
        if wants_x or wants_down:
            sides = zip(parts, up.chunk(ctx.count, 1), strict=True)
            of_codes = torch.cat([torch.bmm(part, rows.mT) for part, rows in sides], 2)
            if wants_down:
                of_down = torch.bmm(of_codes.mT, x)
            if wants_x:
                of_x = product(slopes, weight.t()).view_as(x)
                torch.baddbmm(of_x, of_codes, down, out=of_x)
        return of_x, of_weight, of_down, of_up, None


def _rms(factors: Factors) -> Tensor:
    """Root mean square of the entries of B^T A without forming it: tr(A A^T B B^T) / (I O)."""
    down = factors.A.unflatten(-2, (factors.count, factors.rank))
    up = factors.B.unflatten(-2, (factors.count, factors.rank))
    grams = (down @ down.transpose(-1, -2)) * (up @ up.transpose(-1, -2))
    squares = grams.sum((-1, -2)) / (down.shape[-1] * up.shape[-1])
    rms: Tensor = squares.mean().sqrt()
    return rms
