"""Tokenizers: bytes, byte-pair encodings, and either of them without unused ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.families.feedback.sets import bpe

Ids = NDArray[np.int32]

NUM_SPECIAL = 3
_ROUND = 128


@dataclass(frozen=True)
class Vocabulary:
    """The ids in their order: pieces of text, end-of-text, [MASK], [PAD], then unused ids.

    Args:
        num_pieces: pieces of text, numbered from 0.
    """

    num_pieces: int

    @property
    def end_id(self) -> int:
        """End-of-text, the last id that a text may hold."""
        return self.num_pieces

    @property
    def mask_id(self) -> int:
        """[MASK]; this id and those above it are never generated."""
        return self.num_pieces + 1

    @property
    def pad_id(self) -> int:
        """[PAD]."""
        return self.num_pieces + 2

    @property
    def size(self) -> int:
        """V, rows of the embedding: all ids, rounded up to a multiple of 128."""
        return -(-(self.num_pieces + NUM_SPECIAL) // _ROUND) * _ROUND


def reach(ids: Sequence[int], decode: Callable[[Sequence[int]], str], marker: str) -> int | None:
    """Number of tokens up to the end of the first `marker`; None if the text has none.

    Args:
        ids: tokens of a text.
        decode: gives the text of tokens.
        marker: the words to look for.
    """
    if marker not in decode(ids):
        return None
    low, high = 1, len(ids)
    while low < high:
        middle = (low + high) // 2
        if marker in decode(ids[:middle]):
            high = middle
        else:
            low = middle + 1
    return low


class Tokenizer(ABC):
    """Text to ids and back.

    Attributes:
        pieces: the bytes of each id.
        key: checksum of everything its ids depend on.
    """

    pieces: tuple[bytes, ...]
    key: str

    @property
    def vocabulary(self) -> Vocabulary:
        """Which ids there are."""
        return Vocabulary(len(self.pieces))

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, int32, without end-of-text.

        Raises:
            MissingExtra: if the encoding needs `tokenizers`, and it is not installed.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, with [MASK] as "[MASK]" and without other special ids.

        Bytes that are not valid UTF-8, such as a part of a character, become U+FFFD.
        """
        mask, count = self.vocabulary.mask_id, len(self.pieces)
        parts = (
            self.pieces[number] if number < count else b"[MASK]" if number == mask else b""
            for number in map(int, ids)
        )
        return b"".join(parts).decode(errors="replace")

    def text(self, ids: Sequence[int]) -> str:
        """The text of `ids` before the first end-of-text, or all of it if there is none."""
        found = list(ids)
        end = self.vocabulary.end_id
        return self.decode(found[: found.index(end)] if end in found else found)


class ByteTokenizer(Tokenizer):
    """The bytes of UTF-8 as ids."""

    pieces = tuple(bytes([value]) for value in range(256))
    key = "bytes"

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The bytes of each text."""
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]


@dataclass(frozen=True, eq=False)
class BpeTokenizer(Tokenizer):
    """Byte-level byte-pair encoding with GPT-2's way of splitting text into words.

    Args:
        pieces, key: see `Tokenizer`.
        merges: pairs of ids in the order in which they are merged; None: the id of a piece is its
            rank, from which the merges follow.
    """

    pieces: tuple[bytes, ...]
    key: str
    merges: tuple[bpe.Merge, ...] | None = None

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text."""
        encoded = self._engine.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    @cached_property
    def _engine(self) -> Any:
        merges = bpe.merges_of(self.pieces) if self.merges is None else self.merges
        return bpe.engine(self.pieces, merges)


class JsonTokenizer(Tokenizer):
    """A tokenizer of any type from a Hugging Face `tokenizer.json`.

    Its special tokens are ordinary ids, which are left out of decoded text. End-of-text, [MASK] and
    [PAD] are weft's own and follow its ids.

    Args:
        engine: the `tokenizers.Tokenizer`.
        key: checksum of everything its ids depend on.
    """

    pieces = ()

    def __init__(self, engine: Any, key: str) -> None:
        self.engine, self.key = engine, key

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The ids; numbers that the file does not use are counted too."""
        return Vocabulary(max(self.engine.get_vocab(with_added_tokens=True).values()) + 1)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text."""
        encoded = self.engine.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, with [MASK] as "[MASK]" and without other special ids."""
        mask, count = self.vocabulary.mask_id, self.vocabulary.num_pieces
        parts: list[list[int]] = [[]]
        for number in map(int, ids):
            if number == mask:
                parts.append([])
            elif number < count:
                parts[-1].append(number)
        return "[MASK]".join(self.engine.decode(part, skip_special_tokens=True) for part in parts)


class RestrictedTokenizer(Tokenizer):
    """Another tokenizer restricted to some of its ids; other pieces are written as bytes.

    Args:
        full: the other tokenizer; its pieces include all 256 bytes.
        used: ids of `full` that are kept, in addition to those of the bytes.
        key: checksum of everything its ids depend on.
    """

    def __init__(self, full: Tokenizer, used: NDArray[np.integer], key: str) -> None:
        single = [number for number, piece in enumerate(full.pieces) if len(piece) == 1]
        kept = np.union1d(used, single)
        self.full, self.key = full, key
        self.pieces = tuple(full.pieces[number] for number in kept)
        self._renamed = np.full(len(full.pieces), -1, np.int32)
        self._renamed[kept] = np.arange(len(kept), dtype=np.int32)
        self._byte = np.empty(256, np.int32)
        self._byte[[full.pieces[number][0] for number in single]] = self._renamed[single]

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text."""
        return [self._restrict(ids) for ids in self.full.encode(texts)]

    def _restrict(self, ids: Ids) -> Ids:
        renamed = self._renamed[ids]
        missing = np.flatnonzero(renamed < 0)
        if not len(missing):
            return renamed
        parts: list[Ids] = []
        done = 0
        for place in missing.tolist():
            spelt = np.frombuffer(self.full.pieces[ids[place]], np.uint8)
            parts += [renamed[done:place], self._byte[spelt]]
            done = place + 1
        return np.concatenate([*parts, renamed[done:]])
