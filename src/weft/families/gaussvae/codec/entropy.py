"""How often each value of each latent occurs, and the range coder that makes use of it."""

# M training pictures, L latents, F fine bins, T tiles

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
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
_TRIED = 8

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
class Alphabet:
    """The values that one latent may take at one step.

    Attributes:
        first: the least multiple of the step.
        weights: how often each multiple from there on occurred, twice, and once more, so that
            none is impossible.
        values: what each stands for, in units: the mean of the bins it was met in.
    """

    first: int
    weights: Integers
    values: Floats

    @property
    def bits(self) -> Floats:
        """What each costs."""
        return -np.log2(self.weights / self.weights.sum())


class Tables:
    """Histograms of latents, from which the probabilities at every step are sums of whole numbers.

    They are whole numbers so that every process that holds them finds the same ones.

    Args:
        counts: (L, F), how often a latent lay in each bin; F is even, zero lies in the middle.
    """

    def __init__(self, counts: NDArray[np.integer[Any]]) -> None:
        self.counts: Integers = counts.astype(np.int64)
        self._alphabet = lru_cache(maxsize=None)(self._make)
        self._model = lru_cache(maxsize=None)(self._coded)

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
        nearest = np.rint(np.asarray(latents, np.float64) * FINE / step).astype(np.int64)
        ends = [self._alphabet(j, step) for j in range(len(self.counts))]
        low = np.array([each.first for each in ends])
        return np.clip(nearest, low, low + [len(each.weights) - 1 for each in ends])

    def values(self, symbols: Integers, step: int) -> Floats:
        """What multiples (…, L) of a step stand for, in units."""
        found = np.empty(symbols.shape)
        for j in range(len(self.counts)):
            alphabet = self._alphabet(j, step)
            found[..., j] = alphabet.values[symbols[..., j] - alphabet.first]
        return found

    def bits(self, symbols: Integers, step: int) -> Floats:
        """What an ideal coder spends on multiples (…, L): bits (…)."""
        total = np.zeros(symbols.shape[:-1])
        for j in range(len(self.counts)):
            alphabet = self._alphabet(j, step)
            total += alphabet.bits[symbols[..., j] - alphabet.first]
        return total

    def encode(self, symbols: Integers, step: int) -> bytes:
        """Multiples (T, L) of a step as bytes, latent by latent; as few bytes as decode to them.

        Raises:
            MissingExtra: the coder is not installed.
        """
        encoder = coder().stream.queue.RangeEncoder()
        for j in range(len(self.counts)):
            shifted = symbols[:, j] - self._alphabet(j, step).first
            encoder.encode(shifted.astype(np.int32), self._model(j, step))
        whole = encoder.get_compressed().astype(">u4").tobytes()
        # The coder ends on a word. What decodes is any number in an interval: the shortest is
        # its leading bytes, or those of a number a little above.
        for length in range(max(0, len(whole) - _TRIED), len(whole)):
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
        words = np.frombuffer(content + bytes(-len(content) % _WORD), ">u4").astype(np.uint32)
        decoder = coder().stream.queue.RangeDecoder(words)
        symbols = np.empty((tiles, len(self.counts)), np.int64)
        try:
            for j in range(len(self.counts)):
                first = self._alphabet(j, step).first
                symbols[:, j] = decoder.decode(self._model(j, step), tiles) + first
        except AssertionError:  # The coder's word for bytes that no encoder writes.
            return None
        return symbols

    def _make(self, latent: int, step: int) -> Alphabet:
        """The alphabet of a latent: the multiples that occurred and one beyond at either end."""
        counts = self.counts[latent]
        half = len(counts) // 2
        met = np.flatnonzero(counts) - half
        edge = step // 2
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
        return Alphabet(int(first), 2 * total + 1, np.where(total > 0, mean, middle) / (2 * FINE))

    def _coded(self, latent: int, step: int) -> Any:
        """Its probabilities as the coder wants them."""
        weights = self._alphabet(latent, step).weights.astype(np.float64)
        return coder().stream.model.Categorical(weights, perfect=False)
