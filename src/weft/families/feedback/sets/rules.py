"""Generated documents, each with a random rule that can only be inferred from its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from weft.data.random import derive

LENGTH = 31
"""Bytes of a document; with end-of-text it fills a block of 32 tokens."""
SIZES: Mapping[str, int] = {"train": 16384, "val": 512, "test": 1024}
_KEYS, _VALUES = b"ABCD", b"abcdefgh"
_CYCLE, _RESTART = b"stuvwx", 0.2
_LETTERS, _WORDS, _WORD = b"012345", 12, 3


Draw = Callable[[np.random.Generator, np.random.Generator], bytes]
"""Generates a document with two generators: one for its rule, one for the rest."""


def _dictionary(rule: np.random.Generator, rest: np.random.Generator) -> bytes:
    """Pairs of a key and its value in this document, in random order."""
    values = rule.permutation(np.frombuffer(_VALUES, np.uint8))[: len(_KEYS)]
    drawn = rest.integers(len(_KEYS), size=LENGTH // 2)
    return np.stack([np.frombuffer(_KEYS, np.uint8)[drawn], values[drawn]], 1).tobytes()


def _permutation(rule: np.random.Generator, rest: np.random.Generator) -> bytes:
    """A walk along a random cycle through all letters, which now and then restarts at random."""
    order = rule.permutation(len(_CYCLE))
    image = np.empty_like(order)
    image[order] = np.roll(order, -1)
    restarts, anywhere = rest.random(LENGTH) < _RESTART, rest.integers(len(_CYCLE), size=LENGTH)
    walk = [int(anywhere[0])]
    for restart, place in zip(restarts[1:], anywhere[1:], strict=True):
        walk.append(int(place if restart else image[walk[-1]]))
    return bytes(_CYCLE[step] for step in walk)


def _substitution(rule: np.random.Generator, rest: np.random.Generator) -> bytes:
    """Words of a fixed lexicon, with letters replaced by a random permutation."""
    lexicon = np.random.default_rng(derive("feedback", "lexicon")).integers(
        len(_LETTERS), size=(_WORDS, _WORD)
    )
    cipher = rule.permutation(len(_LETTERS))
    words = cipher[lexicon[rest.integers(_WORDS, size=LENGTH // (_WORD + 1) + 1)]]
    text = b" ".join(bytes(_LETTERS[letter] for letter in word) for word in words)
    return text[:LENGTH]


_DRAWN: Mapping[str, Draw] = {
    "dictionary": _dictionary,
    "permutation": _permutation,
    "substitution": _substitution,
}
KINDS = tuple(f"{sort}-{name}" for sort in ("rules", "known") for name in _DRAWN)
"""Names of data sets: `rules-…` has a rule for each document, `known-…` one for all of them."""


def documents(name: str, split: str) -> list[str]:
    """The documents of a split, the same on every call.

    Args:
        name: one of `KINDS`.
        split: key of `SIZES`.
    """
    sort, _, kind = name.partition("-")
    rest = np.random.default_rng(derive("feedback", name, split))

    def rule() -> np.random.Generator:
        return rest if sort == "rules" else np.random.default_rng(derive("feedback", kind))

    return [_DRAWN[kind](rule(), rest).decode("ascii") for _ in range(SIZES[split])]


def keys(name: str) -> dict[str, str]:
    """For each split a text with everything that its documents depend on."""
    return {split: f"{name} {split} {LENGTH} {SIZES[split]}" for split in SIZES}
