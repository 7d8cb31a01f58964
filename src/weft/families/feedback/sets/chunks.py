"""Tokenised documents from the cache, and their chunks of at most `block_size` tokens."""

# N tokens, D documents, M chunks, B rows, T positions of a row

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.data.cache import Arrays, cached, checksum
from weft.data.source import Batch
from weft.families.feedback.sets.corpus import Corpus
from weft.families.feedback.sets.tokenizer import Tokenizer, reach


@dataclass(frozen=True)
class Documents:
    """Tokens of documents, one after another, each with end-of-text at its end.

    Attributes:
        tokens: int32 (N,).
        lengths: number of tokens of each document, int64 (D,).
        given: number of tokens at the start of each document that are context only and not learnt,
            int64 (D,); None: 0.
    """

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int64]
    given: NDArray[np.int64] | None = None

    @staticmethod
    def joined(parts: Sequence[Documents]) -> Documents:
        """The documents of all parts, one part after another."""
        given = [part.given for part in parts if part.given is not None]
        return Documents(
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate(given) if len(given) == len(parts) else None,
        )

    def first(self, count: int | None) -> Documents:
        """The first `count` documents; all of them if None, or if there are no more."""
        lengths = self.lengths[:count]
        given = None if self.given is None else self.given[:count]
        return Documents(self.tokens[: lengths.sum()], lengths, given)

    def is_given(self) -> Tensor | None:
        """Which tokens are context only, bool (N,); None: none."""
        if self.given is None:
            return None
        begin = self.lengths.cumsum() - self.lengths
        place = np.arange(len(self.tokens)) - np.repeat(begin, self.lengths)
        return torch.from_numpy(place < np.repeat(self.given, self.lengths))

    def chunk_lengths(self, block_size: int) -> NDArray[np.int64]:
        """Tokens of each chunk, (M,): `block_size`, or less in the last chunk of a document."""
        per_document = -(-self.lengths // block_size)
        chunks = np.full(per_document.sum(), block_size, np.int64)
        chunks[per_document.cumsum() - 1] = self.lengths - (per_document - 1) * block_size
        return chunks


def tokenised(
    corpus: Corpus, split: str, tokenizer: Tokenizer, prompt_end: str | None = None
) -> Documents:
    """The documents of a split as tokens; they are cached.

    Args:
        corpus: the text.
        split: of the corpus.
        tokenizer: makes ids of the text.
        prompt_end: words that end the part of a document that is context only; a document without
            them is learnt whole.
    Raises:
        DataError: if a file is missing, damaged or cannot be read.
        MissingExtra: if the text is not in the cache, and `tokenizers` is not installed.
    """

    vocabulary = tokenizer.vocabulary

    def make() -> Arrays:
        end = np.array([vocabulary.end_id], np.int32)
        ids = [np.append(one, end) for one in tokenizer.encode(corpus.read(split))]
        tokens = np.concatenate(ids) if ids else end[:0]
        return {
            # Two bytes per token are enough, except for very large vocabularies.
            "tokens": tokens.astype(np.min_scalar_type(vocabulary.end_id)),
            "lengths": np.array([len(one) for one in ids], np.int64),
        }

    key = checksum("tokens", corpus.keys[split], tokenizer.key)
    kept = cached("tokens", key[:32], make)
    found = Documents(kept["tokens"].astype(np.int32), kept["lengths"])
    if prompt_end is None:
        return found

    def reaches() -> Arrays:
        ends = found.lengths.cumsum()
        documents = np.split(found.tokens, ends[:-1])
        lengths = [reach(ids.tolist(), tokenizer.decode, prompt_end) or 0 for ids in documents]
        return {"given": np.array(lengths, np.int64)}

    given = cached("prompts", checksum(key, prompt_end)[:32], reaches)["given"]
    return replace(found, given=given)


@dataclass(frozen=True)
class Chunks:
    """Chunks on a device; each is part of one document.

    Attributes:
        tokens: of all chunks, one after another, int32 (N,).
        start, length: first token and number of tokens of each chunk, int64 (M,).
        sizes: `length` on the CPU, where batches are planned.
        block_size: largest number of tokens in a chunk.
        pad_id: id of padding.
        given: which tokens are context only, bool (N,); None: none.
    """

    tokens: Tensor
    start: Tensor
    length: Tensor
    sizes: Tensor
    block_size: int
    pad_id: int
    given: Tensor | None = None

    @staticmethod
    def of(documents: Documents, block_size: int, pad_id: int) -> Chunks:
        """The documents cut into chunks, on the CPU."""
        length = torch.from_numpy(documents.chunk_lengths(block_size))
        start = length.cumsum(0) - length
        tokens = torch.from_numpy(documents.tokens)
        given = documents.is_given()
        return Chunks(tokens, start, length, length, block_size, pad_id, given)

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device: torch.device) -> Chunks:
        """The same chunks on `device`."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            start=self.start.to(device),
            length=self.length.to(device),
            given=None if self.given is None else self.given.to(device),
        )

    def rows(self, numbers: Tensor, width: int) -> Batch:
        """One chunk a row, filled up with [PAD].

        Args:
            numbers: of the chunks, int64 (B,).
            width: T, at least the longest chunk's tokens.
        Returns: as `at`, (B, T).
        """
        position = torch.arange(width, device=self.tokens.device)
        return self.at(self.start[numbers, None] + position, position < self.length[numbers, None])

    def at(self, places: Tensor, inside: Tensor) -> Batch:
        """The tokens at `places` where `inside`, else [PAD].

        Returns: `tokens`, int64, and, if some are context only, `given`, bool; both have the shape
            of the arguments.
        """
        places = places.clamp(max=len(self.tokens) - 1)
        found = {"tokens": self.tokens[places].long().masked_fill(~inside, self.pad_id)}
        return found if self.given is None else {**found, "given": self.given[places] & inside}
