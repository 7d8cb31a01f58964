"""Attention: by torch's kernels, or on a CPU with products at full rate."""

# B batch, T queries, S keys, H heads, d entries of a head, N = B H

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.feedback.nets.rows import Sight
from weft.nn.dropout import bits, dropout, gain, kept
from weft.nn.once import once
from weft.nn.onednn import bmm, has_full_rate

_FEW = 1 << 14
"""Number of scores of a head, T S, up to which torch's own attention is as fast."""


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight, p: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, with dropout of probability p on the softmax.

    Args:
        q: (B, T, H, d).
        k, v: (B, S, H, d).
        sight: which keys each query attends to.
    Returns: (B, T, H d).
    """
    if sight.lengths is None:
        out = _attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), sight.mask, p)
        return out.transpose(1, 2).flatten(2)
    cut = [x.flatten(0, 1).transpose(0, 1)[None].split(sight.lengths, 2) for x in (q, k, v)]
    pieces = [_attend(a, b, c, None, p) for a, b, c in zip(*cut, strict=True)]
    return torch.cat(pieces, 2)[0].transpose(0, 1).reshape(*q.shape[:2], -1)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """Attention of (B, H, T, d) to (B, H, S, d)."""
    if q.shape[2] * k.shape[2] > _FEW and has_full_rate(q):
        out: Tensor = _Heads.apply(q, k, v, mask, p)
        return out
    if p == 0 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
    # Torch has no fused form with dropout for CPUs, and draws random bits slowly.
    score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        score = score.masked_fill(~mask, -torch.inf)
    return dropout(score.softmax(-1), p, True) @ v


class _Heads(torch.autograd.Function):
    """softmax(q k^T / sqrt(d)) v with all products by oneDNN; torch's fused form uses MKL.

    Let P be the softmax, K 0 where dropout removes an entry and 1 elsewhere, E = P K and O = c E v.
    Then dS = E c (dO v^T) - P rowsum(dO O).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> Tensor:
        """Maps q (B, H, T, d), k and v (B, H, S, d) to (B, H, T, d); a mask is that of `Sight`."""
        ctx.heads, ctx.p, ctx.scale = q.shape[:2], p, q.shape[-1] ** -0.5
        q, k, v = (x.flatten(0, 1).contiguous() for x in (q, k, v))
        q = q * ctx.scale
        score = bmm(q, k.transpose(1, 2))
        if mask is not None:
            score.view(len(mask), -1, *score.shape[1:]).masked_fill_(~mask, -torch.inf)
        share = sent = torch.softmax(score, -1, out=score)
        if p:
            sent = kept(bits(share.shape), p, share.dtype).mul_(share)
        # Of what is dropped the rest is scaled here, where the numbers are few.
        out = bmm(sent, v).mul_(gain(p))
        ctx.save_for_backward(q, k, v, out, share, sent)
        return out.unflatten(0, ctx.heads)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, share, sent = ctx.saved_tensors
        # With rows that have gaps a product takes twice as long.
        grad = grad.flatten(0, 1).contiguous()
        rows = (grad * out).sum(-1, keepdim=True)
        grad = grad * gain(ctx.p)
        slope = bmm(grad, v.transpose(1, 2))
        if ctx.p:
            slope.mul_(sent).addcmul_(share, rows, value=-1)
        else:
            slope.sub_(rows).mul_(share)
        turned = slope.transpose(1, 2)
        found = bmm(slope, k).mul_(ctx.scale), bmm(turned, q), bmm(sent.transpose(1, 2), grad)
        return *(each.unflatten(0, ctx.heads) for each in found), None, None
