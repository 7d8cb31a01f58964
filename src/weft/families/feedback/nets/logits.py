"""Cross-entropy at masked positions, with logits of a few thousand positions at a time."""

# N masked positions, C width, V vocabulary

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from weft.nn.dense import product
from weft.nn.once import once
from weft.nn.onednn import has_full_rate, mm

_SLICE = 768
"""Number of ids that are summed over in one product."""


class _Parts(NamedTuple):
    """The results of one pass over the positions; gradients are those of the weighted sum."""

    nats: Tensor
    grad_hidden: Tensor | None
    grad_table: Tensor | None


def cross_entropy(
    hidden: Tensor,
    table: Tensor,
    targets: Tensor,
    weight: Tensor,
    chunk: int | None,
    used: int | None = None,
) -> tuple[Tensor, Tensor]:
    """sum_i w_i CE_i with logits = hidden table^T, and the CE_i.

    The weights are applied here and not afterwards, so that gradients can be computed together with
    the logits: three products in all, and never more than chunk x V numbers in memory.

    Args:
        hidden: (N, C); N may be 0.
        table: the head, tied to the token embedding, (V, C). Its gradient is computed only if it
            requires one.
        targets: int64 (N,).
        weight: w, without gradient, (N,).
        chunk: number of positions whose logits are computed at once; None: all.
        used: the softmax is over the first `used` ids; None: all V.
    Returns: the sum, a differentiable scalar, and CE in nats, (N,), without gradient; in float32 or
        wider.
    """
    if not torch.is_grad_enabled():
        hidden, table = hidden.detach(), table.detach()
    chunk = chunk or max(1, len(hidden))
    total, nats = _WeightedSum.apply(hidden, table, targets, weight, chunk, used)
    return total, nats


class _WeightedSum(torch.autograd.Function):
    """The weighted sum, whose gradients are computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        weight: Tensor,
        chunk: int,
        used: int | None,
    ) -> tuple[Tensor, Tensor]:
        parts = _walk(hidden, table, targets, weight, chunk, used, ctx.needs_input_grad[:2])
        ctx.save_for_backward(parts.grad_hidden, parts.grad_table)
        ctx.mark_non_differentiable(parts.nats)
        return (parts.nats * weight).sum(), parts.nats

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, table = ctx.saved_tensors
        return (
            None if hidden is None else _times(hidden, grad),
            None if table is None else _times(table, grad),
            None,
            None,
            None,
            None,
        )


def _times(gradient: Tensor, by: Tensor) -> Tensor:
    """gradient * by; on a CPU it is skipped if `by` is 1, as the table's gradient is large."""
    if by.device.type == "cpu" and float(by) == 1:
        return gradient
    return gradient * by.to(gradient.dtype)


def _walk(
    hidden: Tensor,
    table: Tensor,
    targets: Tensor,
    weight: Tensor,
    chunk: int,
    used: int | None,
    wanted: tuple[bool, bool],
) -> _Parts:
    """Computes logits, softmax and the gradients that are `wanted`, chunk by chunk."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    low = _autocast_dtype(hidden)
    vectors = table if low is None else table.to(low)
    nats = torch.empty(len(hidden), dtype=wide, device=hidden.device)
    grad_hidden = torch.empty_like(hidden) if wanted[0] else None
    grad_table: Tensor | None = None
    for start in range(0, len(hidden), chunk):
        part = slice(start, start + chunk)
        h = hidden[part] if low is None else hidden[part].to(low)
        chosen = targets[part, None]
        logits = product(h, vectors)
        if used is not None:
            # Not cut off: a number of columns that is no multiple of 8 is slow on many devices.
            logits[:, used:] = -torch.inf
        of_target, top = logits.gather(1, chosen).to(wide), logits.amax(1, keepdim=True).to(wide)
        # In place, as a second block of this size takes more time than the computation.
        place = logits if logits.dtype == wide else None
        share = torch.softmax(logits, 1, dtype=wide, out=place)
        # The largest share is at least 1/V, so that its logarithm is safe: log sum exp = top - it.
        nats[part] = (top - share.amax(1, keepdim=True).log() - of_target)[:, 0]
        if not any(wanted):
            continue
        off = share.scatter_add_(1, chosen, torch.full_like(of_target, -1)).to(h.dtype)
        # Weights are applied to tensors of C columns, as every pass over V columns takes time.
        scale = weight[part, None].to(wide)
        if grad_hidden is not None:
            grad_hidden[part] = _mixed(off, vectors) * scale
        if wanted[1]:
            step = product(off.t(), (h * scale).to(h.dtype).t()).to(table.dtype)
            grad_table = step if grad_table is None else grad_table.add_(step)
    if wanted[1] and grad_table is None:
        grad_table = torch.zeros_like(table)
    return _Parts(nats, grad_hidden, grad_table)


def _mixed(shares: Tensor, vectors: Tensor) -> Tensor:
    """shares vectors, (N, C), of shares (N, V) and vectors (V, C).

    oneDNN loses a fifth of its rate in sums as long as V: 20.6 ms in slices against 26.6 at once,
    and 78 against 106 (V = 50,304, C = 256, N = 161 and 652, one thread of an EPYC with AVX-512).
    """
    if not has_full_rate(shares):
        return product(shares, vectors.t())
    slices = zip(shares.split(_SLICE, 1), vectors.split(_SLICE), strict=True)
    total = mm(*next(slices))
    for some in slices:
        total += mm(*some)
    return total


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype of products under autocast, or None; the meta device has no autocast."""
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)
