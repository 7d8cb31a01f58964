"""Generated documents each of which follows a rule of its own that only its text tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from weft.data.random import derive

LENGTH = 63
"""Bytes of a document; with end-of-text it fills a block of 64 tokens."""
SIZES: Mapping[str, int] = {"train": 16384, "val": 512, "test": 1024}
_KEYS, _VALUES = b"ABCDEFGH", b"abcdefghijklmnop"
_CYCLE, _RESTART = b"ijklmnopqrst", 0.2
_LETTERS, _WORDS, _WORD = b"0123456789", 24, 4


def _dictionary(rng: np.random.Generator) -> bytes:
    """Pairs of a key and the value that this document gives it, in random order."""
    values = rng.choice(list(_VALUES), len(_KEYS), replace=False)
    drawn = rng.integers(len(_KEYS), size=LENGTH // 2)
    pairs = np.stack([np.frombuffer(_KEYS, np.uint8)[drawn], values[drawn]], 1)
    return bytes(pairs.astype(np.uint8).tobytes())


def _permutation(rng: np.random.Generator) -> bytes:
    """Each letter's successor is its image under a random cycle through all letters; now and then
    the walk begins anew anywhere."""
    order = rng.permutation(len(_CYCLE))
    image = np.empty_like(order)
    image[order] = np.roll(order, -1)
    restarts, anywhere = rng.random(LENGTH) < _RESTART, rng.integers(len(_CYCLE), size=LENGTH)
    walk = [int(anywhere[0])]
    for restart, place in zip(restarts[1:], anywhere[1:], strict=True):
        walk.append(int(place if restart else image[walk[-1]]))
    return bytes(_CYCLE[step] for step in walk)


def _substitution(rng: np.random.Generator) -> bytes:
    """Words of one lexicon, their letters exchanged by a random permutation."""
    lexicon = np.random.default_rng(derive("feedback", "lexicon")).integers(
        len(_LETTERS), size=(_WORDS, _WORD)
    )
    cipher = rng.permutation(len(_LETTERS))
    words = cipher[lexicon[rng.integers(_WORDS, size=LENGTH // (_WORD + 1) + 1)]]
    text = b" ".join(bytes(_LETTERS[letter] for letter in word) for word in words)
    return text[:LENGTH]


KINDS: Mapping[str, Callable[[np.random.Generator], bytes]] = {
    "rules-dictionary": _dictionary,
    "rules-permutation": _permutation,
    "rules-substitution": _substitution,
}
"""Name of a data set -> how one of its documents is drawn."""


def documents(name: str, split: str) -> list[str]:
    """The documents of a split, the same whenever they are drawn.

    Args:
        name: key of `KINDS`.
        split: key of `SIZES`.
    """
    rng = np.random.default_rng(derive("feedback", name, split))
    return [KINDS[name](rng).decode("ascii") for _ in range(SIZES[split])]


def keys(name: str) -> dict[str, str]:
    """What the documents of each split depend on, in words."""
    return {split: f"{name} {LENGTH} {SIZES[split]}" for split in SIZES}
