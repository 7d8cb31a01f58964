"""Evaluates the root at many weights at once, with a hand-written gradient."""

# M rows (steps times sequences), D weights, i inputs of the root, o raw outputs

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from weft.families.warp.cell.root import Root
from weft.families.warp.cell.span import Span
from weft.families.warp.forms.decode import Decoder, decoder
from weft.nn.once import once


def read(root: Root, theta: Tensor, z: Tensor) -> Tensor:
    """root(theta; z), as by `Root.__call__`.

    With autograd each slice of theta, the weight of a layer, would have a gradient as large as
    theta; the hand-written form has only one.

    Args:
        root: the root to evaluate.
        theta: (..., D).
        z: (..., i), broadcast against theta's leading dimensions.
    Returns: (..., o).
    """
    if isinstance(root, Span):
        theta, root = root.weights(theta), root.inner
    shape = theta.shape[:-1]
    places = z.expand(*shape, z.shape[-1]).flatten(0, -2)
    flat: Tensor = _Reading.apply(decoder(root), theta.reshape(-1, theta.shape[-1]), places)
    return flat.unflatten(0, shape)


class _Reading(Function):
    @staticmethod
    def forward(ctx: Any, decode: Decoder, theta: Tensor, z: Tensor) -> Tensor:
        tape = decode.tape(theta, len(theta))
        out = decode.forward(decode.parts(theta), z, tape)
        ctx.decode = decode
        ctx.save_for_backward(theta, z, *tape)
        return out

    @staticmethod
    @once
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        theta, z, *tape = ctx.saved_tensors
        by_theta = torch.empty_like(theta)
        parts, by_parts = (ctx.decode.parts(each) for each in (theta, by_theta))
        by_z = ctx.decode.backward(
            parts, z, tape, error.contiguous(), by_parts, ctx.needs_input_grad[2]
        )
        return None, by_theta, by_z
