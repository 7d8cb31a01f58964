"""Contrastive losses: partners among sequences (SimCLR), frames within a sequence."""

# T frames, B batch, D code

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.errors import UsageError


def nt_xent(h: Tensor, e: Tensor, temperature: float, *, normalise: bool = False) -> Tensor:
    """NT-Xent: cross-entropy of each code's partner among the 2B - 1 other codes of its frame.

    Both directions count; the mean is over frames and codes. Collapsed codes give log(2B - 1).

    Args:
        h, e: partners, (T, B, D).
        temperature: divides the dot products.
        normalise: whether codes are first scaled to length 1.

    Raises:
        UsageError: if the codes are of other shapes, or there are none.
    """
    _check(h, e, temperature)
    z = torch.cat((h, e), dim=1)
    if normalise:
        z = F.normalize(z, dim=-1)
    frames, count, _ = z.shape
    logits = z @ z.mT / temperature
    itself = torch.eye(count, dtype=torch.bool, device=z.device)
    partner = torch.arange(count, device=z.device).roll(count // 2).expand(frames, -1)
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf).flatten(0, 1), partner.flatten())


def within_infonce(h: Tensor, e: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of frame t among all frames s of one sequence, by cos(h_t, e_s) / temperature.

    Negatives share the background, so a code of the background alone cannot tell them apart.
    Frame 0 is not asked for, since h_0 is e_0, but is among the answers.

    Args:
        h, e: predicted and true codes, (T, B, D).
        temperature: divides the cosines.

    Raises:
        UsageError: if the codes are of other shapes, or there is one frame, which nothing was
            predicted of.
    """
    _check(h, e, temperature, frames=2)
    frames, batch, _ = e.shape
    query, key = F.normalize(h[1:], dim=-1), F.normalize(e, dim=-1)
    logits = torch.einsum("tbd,sbd->tbs", query, key) / temperature
    target = torch.arange(1, frames, device=e.device)[:, None].expand(-1, batch)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def infonce(h: Tensor, e: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each predicted frame among all frames of all sequences, by cosines.

    Args:
        h, e: predicted and true codes, (T, B, D).
        temperature: divides the cosines.

    Raises:
        UsageError: if the codes are of other shapes, or there is one frame, which nothing was
            predicted of.
    """
    _check(h, e, temperature, frames=2)
    query = F.normalize(h[1:], dim=-1).flatten(0, 1)
    key = F.normalize(e, dim=-1).flatten(0, 1)
    target = torch.arange(len(key) - len(query), len(key), device=key.device)
    return F.cross_entropy(query @ key.mT / temperature, target)


def _check(h: Tensor, e: Tensor, temperature: float, frames: int = 1) -> None:
    if h.dim() != 3 or h.shape != e.shape or not h[0:1].numel():
        raise UsageError(
            f"codes of shape {tuple(h.shape)} and {tuple(e.shape)} are no partners",
            expected="(frames, batch, entries), the same for both, none of them 0",
        )
    if not temperature > 0:
        raise UsageError(f"a temperature of {temperature}", expected="more than 0")
    if len(e) < frames:
        raise UsageError(
            f"codes of shape {tuple(e.shape)} have no frame that was predicted",
            expected="(frames, batch, entries) with two frames or more",
        )
