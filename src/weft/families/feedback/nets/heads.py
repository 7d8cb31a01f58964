"""Splits stacked projections into heads, turned by the rotary embedding."""

# B batch, T positions, z stacked projections, H heads, d entries of a head

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weft.families.feedback.nets.rows import Rotation
from weft.nn.once import once


def split(x: Tensor, turn: Rotation, heads: int, turned: int) -> tuple[Tensor, ...]:
    """The z projections of x apart, the first `turned` of them with the rotary embedding.

    On a CPU they lie in memory head by head, as the products of attention read them, and one pass
    moves and turns all of them.

    Args:
        x: (B, T, z, H d).
        turn: rotary embedding of its positions.
        heads: H.
        turned: number of projections that are turned.
    Returns: z of (B, T, H, d).
    """
    x = x.unflatten(-1, (heads, -1))
    # Under autocast the embedding is wider than x, which torch's own operations see to.
    if x.device.type == "cpu" and x.dtype == turn.cos.dtype and not torch.compiler.is_compiling():
        found: tuple[Tensor, ...] = _Split.apply(x, turn.cos, turn.sin, turned)
        return found
    parts = x.unbind(2)
    return (*map(turn, parts[:turned]), *parts[turned:])


class _Split(torch.autograd.Function):
    """The transpose of a turn is the turn by the negative angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, turned: int) -> tuple[Tensor, ...]:
        cos, sin = cos.transpose(-2, -3), sin.transpose(-2, -3)
        ctx.save_for_backward(cos, sin)
        ctx.shape, ctx.turned = x.shape, turned
        out = x.permute(2, 0, 3, 1, 4).contiguous()
        some = out[:turned]
        swapped = some.roll(x.shape[-1] // 2, -1)
        some.mul_(cos).addcmul_(swapped, sin)
        return out.transpose(2, 3).unbind(0)

    @staticmethod
    @once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        out = grads[0].new_empty(ctx.shape)
        for number, (grad, place) in enumerate(zip(grads, out.unbind(2), strict=True)):
            # Head by head, as gradients come from attention's products.
            grad, place = grad.transpose(1, 2), place.transpose(1, 2)
            if number < ctx.turned:
                torch.mul(grad, cos, out=place)
                place.addcmul_(grad.roll(ctx.shape[-1] // 2, -1), sin, value=-1)
            else:
                place.copy_(grad)
        return out, None, None, None
