"""Probability tables of quantised latents, and their use by a range coder."""

# M training pictures, L latents, F fine bins, T tiles

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.data.guard import unreadable
from weft.errors import MissingExtra

FINE = 4
"""Fine bins per unit. A step is an even number of bins, so that its edges are edges of bins."""
MOST_BINS = 2**16
"""Largest number of bins of a latent; values outside are clamped to the outermost bins."""
_WORD = 4

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def coder() -> Any:
    """The package of the range coder.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        import constriction
    except ImportError as error:
        raise MissingExtra("constriction", "splats", "entropy coding of latents") from error
    return constriction


@dataclass(frozen=True)
class Alphabets:
    """The values that latents can take at one step of the quantiser.

    Those of a latent are the multiples of the step from one below the smallest that occurred to one
    above the largest.

    Attributes:
        first: the smallest multiple of each latent, (L,).
        sizes: number of multiples of each latent, (L,).
        weights: twice the number of occurrences of each multiple plus one, so that none has
            probability 0; (L, A), zero beyond the last multiple of a latent.
        values: the value in units that each multiple decodes to, the mean of its occupied bins;
            (L, A).
    """

    first: Integers
    sizes: Integers
    weights: Integers
    values: Floats

    @cached_property
    def bits(self) -> Floats:
        """Bits of each value under an ideal coder, (L, A)."""
        return np.log2(self.weights.sum(1, keepdims=True)) - np.log2(np.maximum(self.weights, 1))

    @cached_property
    def models(self) -> list[Any]:
        """The probabilities of each latent in the form of the coder."""
        categorical = coder().stream.model.Categorical
        return [
            categorical(row[:size].astype(np.float64), perfect=False)
            for row, size in zip(self.weights, self.sizes, strict=True)
        ]

    def at(self, table: Floats, symbols: Integers) -> Floats:
        """Entries of a table (L, A) for multiples (…, L)."""
        return table[np.arange(len(self.first)), symbols - self.first]


class Tables:
    """Histograms of latents, from which probabilities at every step follow by sums of integers.

    Integers make the probabilities the same in every process.

    Args:
        counts: (L, F), occurrences of each latent in each bin; F is even, with zero in the middle.
    """

    def __init__(self, counts: NDArray[np.integer[Any]]) -> None:
        self.counts: Integers = counts.astype(np.int64)
        self.alphabets = lru_cache(maxsize=None)(self._alphabets)

    @classmethod
    def of(cls, latents: NDArray[np.floating[Any]]) -> Tables:
        """The histograms of latents (M, L), finite, in units."""
        fine = np.floor(np.asarray(latents, np.float64) * FINE)
        fine = np.clip(fine, -MOST_BINS // 2, MOST_BINS // 2 - 1).astype(np.int64)
        half = int(max(fine.max() + 1, -fine.min(), FINE))
        counts = [np.bincount(column, minlength=2 * half) for column in (fine + half).T]
        return cls(np.stack(counts))

    def quantised(self, latents: NDArray[np.floating[Any]], step: int) -> Integers:
        """The multiples (…, L) of a step nearest to latents in units, clamped to the alphabets.

        Args:
            latents: (…, L).
            step: in bins, an even number.
        """
        known = self.alphabets(step)
        nearest = np.rint(np.asarray(latents, np.float64) * FINE / step).astype(np.int64)
        return np.clip(nearest, known.first, known.first + known.sizes - 1)

    def values(self, symbols: Integers, step: int) -> Floats:
        """The values in units that multiples (…, L) of a step decode to."""
        known = self.alphabets(step)
        return known.at(known.values, symbols)

    def bits(self, symbols: Integers, step: int) -> Floats:
        """Bits (…) of multiples (…, L) under an ideal coder."""
        known = self.alphabets(step)
        return known.at(known.bits, symbols).sum(-1)

    def encode(self, symbols: Integers, step: int) -> bytes:
        """Multiples (T, L) of a step as bytes, latent by latent, without unnecessary last bytes.

        Raises:
            MissingExtra: if the coder is not installed.
        """
        known = self.alphabets(step)
        encoder = coder().stream.queue.RangeEncoder()
        places = np.ascontiguousarray((symbols - known.first).T.astype(np.int32))
        for row, model in zip(places, known.models, strict=True):
            encoder.encode(row, model)
        whole = encoder.get_compressed().astype(">u4").tobytes()
        # The coder ends with a whole word, but any number in an interval decodes to the same. The
        # shortest is a prefix of its bytes, or of a slightly larger number, and no shorter than
        # its bits.
        least = int(self.bits(symbols, step).sum() // 8)
        for length in range(least, len(whole)):
            number = int.from_bytes(whole[:length])
            for candidate in (number, number + 1):
                if candidate < 256**length:
                    short = candidate.to_bytes(length)
                    found = self._decoded(short, len(symbols), step)
                    if found is not None and np.array_equal(found, symbols):
                        return short
        return whole

    def decode(self, content: bytes, tiles: int, step: int, where: str = "") -> Integers:
        """The multiples (T, L) that `encode` wrote.

        Raises:
            DataError: if `encode` cannot have written these bytes.
            MissingExtra: if the coder is not installed.
        """
        symbols = self._decoded(content, tiles, step)
        if symbols is None:
            raise unreadable(where, "latents as the entropy coder writes them", "other bytes")
        return symbols

    def _decoded(self, content: bytes, tiles: int, step: int) -> Integers | None:
        known = self.alphabets(step)
        words = np.frombuffer(content + bytes(-len(content) % _WORD), ">u4").astype(np.uint32)
        decoder = coder().stream.queue.RangeDecoder(words)
        try:
            places = [decoder.decode(model, tiles) for model in known.models]
        except AssertionError:  # The coder's error for bytes that no encoder writes.
            return None
        return np.stack(places, 1) + known.first

    def _alphabets(self, step: int) -> Alphabets:
        rows = [_alphabet(row, step) for row in self.counts]
        sizes = np.array([len(weights) for _, weights, _ in rows])
        weights = np.zeros((len(rows), sizes.max()), np.int64)
        values = np.zeros(weights.shape)
        for latent, (_, mine, stand_for) in enumerate(rows):
            weights[latent, : len(mine)], values[latent, : len(mine)] = mine, stand_for
        return Alphabets(np.array([first for first, _, _ in rows]), sizes, weights, values)


def _alphabet(counts: Integers, step: int) -> tuple[int, Integers, Floats]:
    """First multiple, weights and values of one latent, from its histogram (F,)."""
    half, edge = len(counts) // 2, step // 2
    met = np.flatnonzero(counts) - half
    first, last = (met.min() + edge) // step - 1, (met.max() + edge) // step + 1
    # Bins from the lower edge of the first multiple to the upper edge of the last.
    start, stop = first * step - edge, (last + 1) * step - edge
    whole = np.zeros(stop - start, np.int64)
    low, high = max(start, -half), min(stop, half)
    whole[low - start : high - start] = counts[low + half : high + half]
    bins = whole.reshape(-1, step)
    total = bins.sum(1)
    # Twice the sum of the bins' centres, which is an integer too.
    centres = (2 * np.arange(start, stop) + 1).reshape(-1, step)
    mean = (bins * centres).sum(1) / np.maximum(total, 1)
    middle = 2.0 * step * np.arange(first, last + 1)
    return int(first), 2 * total + 1, np.where(total > 0, mean, middle) / (2 * FINE)
