"""Sums the losses of one form of the model at the masked tokens of held-out chunks."""

# B rows of a batch, T positions, M chunks of a split, N masked positions of a batch, K noise levels

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.feedback.noise.process import Noised
from weft.families.feedback.objective import row_sums
from weft.nn.dense import linear
from weft.nn.precision import widened

_CHUNK = 4096


def guess(read: Tensor, table: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each position in nats, and whether its likeliest id is correct.

    Args:
        read: hidden states that the head reads, (N, C).
        table: the head, (V, C), or its rows of the ids in the softmax.
        targets: int64 (N,).
    Returns: float32 or wider (N,), and bool (N,).
    """
    nats, hits = [], []
    for part, wanted in zip(read.split(_CHUNK), targets.split(_CHUNK), strict=True):
        logits = linear(part, table)
        logits = widened(logits)
        nats.append(torch.nn.functional.cross_entropy(logits, wanted, reduction="none"))
        hits.append(logits.argmax(-1) == wanted)
    return torch.cat(nats), torch.cat(hits)


class Tally:
    """Sums over a split; they stay on the device until they are read.

    Args:
        levels: K.
    """

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self._rows: list[Tensor] = []
        self._padding: list[Tensor] = []
        self._by_level: list[list[Tensor]] = [[] for _ in range(levels)]

    def add(self, level: int, noised: Noised, real: Tensor, nats: Tensor, hits: Tensor) -> None:
        """Adds one batch at one level; the levels of a batch must be added in order, from 0.

        Args:
            level: from 0 to K - 1.
            noised: the batch, (B, T).
            real: whether a position is text, bool (B, T); padding may be masked too.
            nats: cross-entropy at masked positions, (N,).
            hits: whether the likeliest id is correct there, bool (N,).
        """
        at_text = real[noised.masked].to(nats.dtype)
        bound = nats * noised.weight[noised.masked] / self.levels
        rows = row_sums(bound * at_text, noised.masked)
        if level == 0:
            self._rows.append(rows)
        else:
            self._rows[-1] = self._rows[-1] + rows
        self._padding.append((bound * (1 - at_text)).sum())
        parts = ((nats * at_text).sum(), (hits * at_text).sum(), at_text.sum())
        self._by_level[level].append(torch.stack(parts))

    @property
    def sums(self) -> Tensor:
        """The bound of each chunk in nats, a sum over its text, float64 (M,) on the CPU."""
        return torch.cat(self._rows).cpu().double()

    @property
    def batches(self) -> Tensor:
        """The bound of each batch in nats, with padding, float64 (batches,) on the CPU."""
        padding = torch.stack(self._padding).cpu().double().view(-1, self.levels).sum(1)
        return torch.stack([rows.sum().cpu().double() for rows in self._rows]) + padding

    def by_level(self) -> tuple[list[float], list[float]]:
        """For each level, nats per masked token and share of correct predictions.

        Both are 0 for a level without masked tokens.
        """
        sums = torch.stack([torch.stack(parts).sum(0) for parts in self._by_level]).cpu().double()
        nats, hits, masked = sums.unbind(1)
        masked = masked.clamp(min=1)
        return (nats / masked).tolist(), (hits / masked).tolist()
