"""How often each value of each latent occurs, and the range coder that makes use of it."""

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
"""Fine bins a unit. Steps are even numbers of them, so that edges of steps are edges of bins."""
MOST_BINS = 2**16
"""Of a latent; what lies further from zero than half of them counts as lying there."""
_WORD = 4

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def coder() -> Any:
    """The package of the range coder.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import constriction
    except ImportError as error:
        raise MissingExtra("constriction", "splats", "entropy coding of latents") from error
    return constriction


@dataclass(frozen=True)
class Alphabets:
    """The values that latents may take at one step: of each the multiples of it that occurred,
    what lies between them, and one beyond at either end.

    Attributes:
        first: the least multiple of each latent, (L,).
        sizes: how many multiples it has, (L,).
        weights: how often each occurred, twice, and once more, so that none is impossible; (L, A),
            zero beyond a latent's last one.
        values: what each stands for, in units: the mean of the bins it was met in; (L, A).
    """

    first: Integers
    sizes: Integers
    weights: Integers
    values: Floats

    @cached_property
    def bits(self) -> Floats:
        """What each costs an ideal coder, (L, A)."""
        return np.log2(self.weights.sum(1, keepdims=True)) - np.log2(np.maximum(self.weights, 1))

    @cached_property
    def models(self) -> list[Any]:
        """The probabilities of each latent as the coder wants them."""
        categorical = coder().stream.model.Categorical
        return [
            categorical(row[:size].astype(np.float64), perfect=False)
            for row, size in zip(self.weights, self.sizes, strict=True)
        ]

    def at(self, table: Floats, symbols: Integers) -> Floats:
        """Entries of a table (L, A) for multiples (…, L)."""
        return table[np.arange(len(self.first)), symbols - self.first]


class Tables:
    """Histograms of latents, from which the probabilities at every step are sums of whole numbers.

    They are whole numbers so that every process that holds them finds the same ones.

    Args:
        counts: (L, F), how often a latent lay in each bin; F is even, zero lies in the middle.
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
        """The nearest multiples (…, L) of a step to latents in units, as far as alphabets go.

        Args:
            latents: (…, L).
            step: in bins, an even number.
        """
        known = self.alphabets(step)
        nearest = np.rint(np.asarray(latents, np.float64) * FINE / step).astype(np.int64)
        return np.clip(nearest, known.first, known.first + known.sizes - 1)

    def values(self, symbols: Integers, step: int) -> Floats:
        """What multiples (…, L) of a step stand for, in units."""
        known = self.alphabets(step)
        return known.at(known.values, symbols)

    def bits(self, symbols: Integers, step: int) -> Floats:
        """What an ideal coder spends on multiples (…, L): bits (…)."""
        known = self.alphabets(step)
        return known.at(known.bits, symbols).sum(-1)

    def encode(self, symbols: Integers, step: int) -> bytes:
        """Multiples (T, L) of a step as bytes, latent by latent; as few bytes as decode to them.

        Raises:
            MissingExtra: the coder is not installed.
        """
        known = self.alphabets(step)
        encoder = coder().stream.queue.RangeEncoder()
        places = np.ascontiguousarray((symbols - known.first).T.astype(np.int32))
        for row, model in zip(places, known.models, strict=True):
            encoder.encode(row, model)
        whole = encoder.get_compressed().astype(">u4").tobytes()
        # The coder ends on a word. What decodes is any number in an interval: the shortest is
        # its leading bytes, or those of a number a little above, and no shorter than its bits.
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
            DataError: it wrote no such bytes.
            MissingExtra: the coder is not installed.
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
        except AssertionError:  # The coder's word for bytes that no encoder writes.
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
    """First multiple, weights and values of a latent that lay in bins so often, (F,)."""
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
    # Twice the sum of the bins' centres, which is a whole number too.
    centres = (2 * np.arange(start, stop) + 1).reshape(-1, step)
    mean = (bins * centres).sum(1) / np.maximum(total, 1)
    middle = 2.0 * step * np.arange(first, last + 1)
    return int(first), 2 * total + 1, np.where(total > 0, mean, middle) / (2 * FINE)
