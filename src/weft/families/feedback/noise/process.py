"""Noise: a time t for every document, a mask probability p from it, and [MASK] where it hits."""

# B rows, T positions of a row, D documents of a row (T at most), K noise levels

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weft.data.random import derive, stream
from weft.data.source import Batch
from weft.errors import UsageError

# Does not depend on the run, so that all models with one tokenizer are scored with the same masks.
_FIXED = derive("feedback", "fixed masks")


@dataclass(frozen=True)
class Noised:
    """Rows with [MASK] at random places.

    Attributes:
        tokens: x_t, int64 (B, T).
        clean: x_0, int64 (B, T).
        masked: where x_t is [MASK], bool (B, T).
        weight: 1/p of each position's document, (B, T).
        text: positions that can get noise, are attended to and learnt, bool (B, T).
    """

    tokens: Tensor
    clean: Tensor
    masked: Tensor
    weight: Tensor
    text: Tensor


def learnt(batch: Batch, pad_id: int | None) -> Tensor:
    """The positions that can get noise and are learnt, bool (B, T).

    Args:
        batch: `tokens` (B, T), and `given` (B, T) if some of them are context only.
        pad_id: id of padding; None if padding counts as text.
    """
    tokens, given = batch["tokens"], batch.get("given")
    text = torch.ones_like(tokens, dtype=torch.bool) if pad_id is None else tokens != pad_id
    return text if given is None else text & ~given


def mask_probability(t: Tensor, eps: float) -> Tensor:
    """p = (1 - eps) t + eps, in [eps, 1], for times t in [0, 1]."""
    return (1 - eps) * t + eps


def times(index: Tensor, count: Tensor | int, generator: torch.Generator | None) -> Tensor:
    """Stratified times: t_i = (u + i / N) mod 1 with one u ~ U(0, 1).

    Each time is uniform; together they cover [0, 1) evenly, so that a mean over them varies less.

    Args:
        index: the numbers i of the documents, any shape.
        count: how many documents N there are.
        generator: on the device of `index`.
    Returns: times in [0, 1), the shape of `index`.
    """
    offset = torch.rand((), generator=generator, device=index.device)
    return (offset + index / count) % 1


def document_times(batch: Batch, generator: torch.Generator | None, *, stratified: bool) -> Tensor:
    """The time of every position: one for each row, or for each document of a packed row.

    Args:
        batch: `tokens` (B, T), and for packed rows `document` (B, T), numbered from 0 in each row,
            -1 on padding.
        generator: on the batch's device.
        stratified: whether times are stratified, see `times`, or independent.
    Returns: t in [0, 1), (B, T); undefined on padding.
    """
    tokens = batch["tokens"]
    rows, length = tokens.shape
    document = batch.get("document")
    if document is None:
        document = tokens.new_zeros(rows, 1)
    number = document.clamp(min=0)
    per_row = document.amax(1) + 1
    if stratified:
        before = per_row.cumsum(0) - per_row
        drawn = times(before[:, None] + number, per_row.sum().clamp(min=1), generator)
    else:
        # A row has at most as many documents as `document` has entries.
        shape = (rows, number.shape[1])
        drawn = torch.rand(shape, generator=generator, device=tokens.device).gather(1, number)
    return drawn.expand(rows, length)


def positions(masked: Tensor) -> Tensor:
    """Numbers of the masked positions in the flattened batch, int64 (N,).

    On the meta device, where only costs are counted, half of the positions are taken as masked,
    their mean number. During the capture of a CUDA graph all positions are returned, because the
    number of masked ones changes from step to step and the shapes of a graph cannot.
    """
    if masked.is_meta:
        return torch.arange(0, masked.numel(), 2, device=masked.device)
    if _recorded(masked):
        return torch.arange(masked.numel(), device=masked.device)
    return masked.flatten().nonzero()[:, 0]


def _recorded(tensor: Tensor) -> bool:
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def apply_mask(clean: Tensor, text: Tensor, draws: Tensor, p: Tensor, mask_id: int) -> Noised:
    """[MASK] at the positions of `text` where `draws` < p.

    Args:
        clean: int64 (B, T).
        text: bool (B, T).
        draws: uniform in [0, 1), (B, T).
        p: mask probability, (B, T) or (B, 1).
        mask_id: id of [MASK].
    """
    masked = (draws < p) & text
    weight = p.reciprocal().expand(clean.shape)
    return Noised(clean.masked_fill(masked, mask_id), clean, masked, weight, text)


def masked_noise(
    batch: Batch,
    text: Tensor,
    mask_id: int,
    generator: torch.Generator | None,
    *,
    eps: float,
    stratified: bool,
) -> Noised:
    """A training batch with new noise.

    Args:
        batch: `tokens` (B, T), and for packed rows `document` (B, T).
        text: positions that may be masked, bool (B, T).
        mask_id: id of [MASK].
        generator: on the batch's device; None on the meta device.
        eps: smallest mask probability.
        stratified: whether the batch's times are stratified.

    Raises:
        UsageError: if `text` is of another shape than the tokens, or `eps` is no probability.
    """
    tokens = batch["tokens"]
    if text.shape != tokens.shape or not 0 <= eps <= 1:
        raise UsageError(
            f"tokens of shape {tuple(tokens.shape)}, text of {tuple(text.shape)}, eps {eps}",
            expected="(rows, positions) both, and 0 to 1",
        )
    p = mask_probability(document_times(batch, generator, stratified=stratified), eps)
    draws = torch.rand(tokens.shape, generator=generator, device=tokens.device)
    return apply_mask(tokens, text, draws, p, mask_id)


def fixed_noise(
    tokens: Tensor, text: Tensor, first: int, mask_id: int, *, eps: float, levels: int
) -> list[Noised]:
    """Chunks with noise at K levels; the masks depend only on the number of the chunk.

    Level k has t = (k + u) / K, where u depends on chunk and level, so that the mean over levels is
    a stratified mean over t in [0, 1).

    Args:
        tokens: consecutive chunks, int64 (B, T).
        text: positions that may be masked, bool (B, T).
        first: the number of the first of these chunks in its split.
        mask_id: id of [MASK].
        eps: smallest mask probability.
        levels: K.
    Returns: the noisy chunks of each level, k = 0 first.
    """
    rows, length = tokens.shape
    offset, draws = torch.empty(rows, levels), torch.empty(rows, levels, length)
    for row in range(rows):
        own = stream(_FIXED, first + row, "chunk")
        offset[row] = torch.rand(levels, generator=own)
        # Numbers are drawn position by position, so that padding does not change those of the text.
        draws[row] = torch.rand(length, levels, generator=own).T
    t = (torch.arange(levels) + offset) / levels
    p = mask_probability(t, eps).to(tokens.device)
    draws = draws.to(tokens.device)
    return [
        apply_mask(tokens, text, draws[:, level], p[:, level, None], mask_id)
        for level in range(levels)
    ]


def cut(batch: Batch, length: int, pad_id: int) -> Batch:
    """The batch with only the first `length` tokens of every chunk.

    Packed rows keep their shape; the tokens that are cut become padding.
    """
    if "position" not in batch:
        return {name: tensor[:, :length] for name, tensor in batch.items()}
    gone = batch["position"] >= length
    fill = {"tokens": pad_id, "document": -1, "position": 0, "given": 0}
    return {name: tensor.masked_fill(gone, fill[name]) for name, tensor in batch.items()}


def random_length(length: int, probability: float, generator: torch.Generator | None) -> int | None:
    """With `probability` a length T' ~ U{1..length}, else None.

    Args:
        length: T.
        probability: in [0, 1].
        generator: on the CPU, because the length determines shapes; None where costs are counted,
            which refer to whole chunks.
    """
    if generator is None:
        return None
    coin = float(torch.rand((), generator=generator))
    if coin >= probability:
        return None
    return int(torch.randint(1, length + 1, (), generator=generator))
