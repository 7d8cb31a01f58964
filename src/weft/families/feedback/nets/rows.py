"""Positions of a batch: which are text, their rotary embedding, and which attend to each other."""

# B rows, T positions, n weight tokens, d entries of a head

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BASE = 10000.0


@dataclass(frozen=True)
class Sight:
    """Which positions attend to each other, as attention needs it.

    Attributes:
        mask: bool, True where a query attends to a key; broadcasts to (B, heads, T, T). None: all.
        lengths: lengths of consecutive pieces of the B·T positions; each piece attends only to
            itself. It replaces `mask`.
    """

    mask: Tensor | None = None
    lengths: tuple[int, ...] | None = None

    @property
    def is_of_keys(self) -> bool:
        """Whether all queries attend to the same keys."""
        return self.lengths is None and (self.mask is None or self.mask.shape[-2] == 1)


@dataclass(frozen=True)
class Rows:
    """The positions of a batch.

    Attributes:
        real: bool (B, T), whether a position is text and not padding; None: all are text.
        document: int64 (B, T), number of the document in the row, -1 on padding; None: a row is one
            document.
        position: int64 (B, T), position in the document; None: 0 … T - 1 in every row.
    """

    real: Tensor | None = None
    document: Tensor | None = None
    position: Tensor | None = None

    @staticmethod
    def of(
        tokens: Tensor,
        pad: int | None,
        document: Tensor | None = None,
        position: Tensor | None = None,
    ) -> Rows:
        """The rows of `tokens` (B, T).

        Args:
            tokens: int64, clean or noisy: padding gets no noise.
            pad: id of padding; None if padding counts as text.
            document, position: (B, T), of packed rows.
        """
        real = None if pad is None else tokens != pad
        # Reading values costs nothing on a CPU; on another device it would wait for it.
        if real is not None and real.device.type == "cpu" and bool(real.all()):
            real = None
        return Rows(real, document, position)

    def sight(self) -> Sight:
        """Text attends to the text of its own document; padding attends to whatever is cheapest.

        On a CPU packed rows are cut into documents: with T = 512 and three documents per row that
        takes a ninth of the time of attention with a mask (5.6 ms against 51 ms for B = 1).
        """
        if self.document is None:
            if self.real is None:
                return Sight()
            # In a row of nothing but padding all positions are seen, as an empty softmax gives NaN.
            seen = self.real | ~self.real.any(1, keepdim=True)
            return Sight(seen[:, None, None, :])
        if self.document.device.type != "cpu" or torch.compiler.is_compiling():
            return Sight((self.document[:, :, None] == self.document[:, None, :])[:, None])
        rows = torch.arange(len(self.document))[:, None] * (self.document.shape[1] + 1)
        _, counts = torch.unique_consecutive(rows + self.document, return_counts=True)
        return Sight(lengths=tuple(counts.tolist()))

    def sight_of_weights(self, count: int) -> Sight:
        """`Sight` of `count` weight tokens after the text: they attend to it and to each other."""
        if self.real is None:
            return Sight()
        seen = torch.nn.functional.pad(self.real, (0, count), value=True)
        return Sight(seen[:, None, None, :])

    def share(self, x: Tensor) -> Tensor:
        """The weight of each position in a mean over the text of its row, (B, T); dtype of x."""
        if self.real is None:
            return x.new_full(x.shape[:2], 1 / x.shape[1])
        share = self.real.to(x.dtype)
        return share / share.sum(1, keepdim=True).clamp_min(1)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the text of each row of x (B, T, C): (B, C)."""
        if self.real is None:
            return x.mean(1)
        share = self.real.to(x.dtype)
        return (x * share[:, :, None]).sum(1) / share.sum(1, keepdim=True).clamp_min(1)


# Known by identity: torch 2.11 hashes what it compiles a call of, before it has fields.
@dataclass(frozen=True, eq=False)
class Rotation:
    """Rotary embedding: the pair (i, i + d/2) at position s is turned by s / 10000^(2i/d).

    Attributes:
        cos: (..., T, 1, d).
        sin: the same, its first half negative.
    """

    cos: Tensor
    sin: Tensor

    @staticmethod
    def of(position: Tensor, dim: int, dtype: torch.dtype) -> Rotation:
        """Turns for `position` (..., T), with heads of `dim` entries, in float32 or wider."""
        dtype = torch.promote_types(dtype, torch.float32)
        exponent = torch.arange(0, dim, 2, device=position.device, dtype=dtype) / dim
        angle = position.to(dtype)[..., None, None] * BASE**-exponent
        cos, sin = angle.cos(), angle.sin()
        return Rotation(torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1))

    def __call__(self, x: Tensor) -> Tensor:
        """Turns x (B, T, heads, d)."""
        turned = torch.addcmul(x * self.cos, x.roll(x.shape[-1] // 2, -1), self.sin)
        return turned.to(x.dtype)
