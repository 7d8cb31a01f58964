"""Chunks never reach over the end of a document, and tokens are kept in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.families.feedback.sets.chunks import Chunks, Documents, tokenised
from weft.families.feedback.sets.corpus import Corpus
from weft.families.feedback.sets.tokenizer import ByteTokenizer, Ids

PAD = 258


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting(ByteTokenizer):
    """Bytes, and how often they were asked for."""

    calls = 0

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        self.calls += 1
        return super().encode(texts)


def corpus_of(*texts: str, key: str = "key") -> Corpus:
    return Corpus({"train": key}, lambda split: list(texts))


def documents_of(lengths: list[int]) -> Documents:
    return Documents(np.arange(sum(lengths), dtype=np.int32), np.array(lengths, np.int64))


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(2, 9))
def test_chunks_are_full_but_for_the_last_of_a_document(lengths: list[int], block: int) -> None:
    expected = [
        min(block, length - start) for length in lengths for start in range(0, length, block)
    ]
    assert documents_of(lengths).chunk_lengths(block).tolist() == expected


def test_rows_hold_the_tokens_of_their_chunks_and_padding() -> None:
    chunks = Chunks.of(documents_of([5, 2]), 3, PAD)
    assert len(chunks) == 3
    rows = chunks.rows(torch.tensor([2, 0, 1]), 4)["tokens"]
    assert rows.dtype == torch.int64
    assert rows.tolist() == [[5, 6, PAD, PAD], [0, 1, 2, PAD], [3, 4, PAD, PAD]]


def test_every_document_ends_in_end_of_text() -> None:
    found = tokenised(corpus_of("ab", "", "c"), "train", ByteTokenizer())
    assert found.tokens.tolist() == [97, 98, 256, 256, 99, 256]
    assert found.lengths.tolist() == [3, 1, 2]


def test_text_is_tokenised_once_for_each_text_and_tokenizer() -> None:
    tokenizer = Counting()
    first = tokenised(corpus_of("ab"), "train", tokenizer)
    again = tokenised(corpus_of("ab"), "train", tokenizer)
    assert tokenizer.calls == 1
    assert np.array_equal(first.tokens, again.tokens)
    assert np.array_equal(first.lengths, again.lengths)
    tokenised(corpus_of("abc", key="another"), "train", tokenizer)
    tokenizer.key = "another"
    tokenised(corpus_of("ab"), "train", tokenizer)
    assert tokenizer.calls == 3


@pytest.mark.parametrize("damage", [b"", b"PK no archive", None])
def test_a_damaged_cache_is_mended(cache: Path, damage: bytes | None) -> None:
    tokenizer = Counting()
    expected = tokenised(corpus_of("ab" * 50), "train", tokenizer)
    [kept] = (cache / "tokens").iterdir()
    content = kept.read_bytes()
    stored = expected.tokens.astype(np.uint16).tobytes()
    flipped = content.replace(stored, bytes(len(stored)))
    assert flipped != content
    kept.write_bytes(flipped if damage is None else damage)
    found = tokenised(corpus_of("ab" * 50), "train", tokenizer)
    assert np.array_equal(found.tokens, expected.tokens)
    assert tokenizer.calls == 2
    assert kept.read_bytes() == content


def test_without_a_writable_cache_tokens_are_made_anew_with_a_warning(cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="WEFT_CACHE"):
        found = tokenised(corpus_of("ab"), "train", ByteTokenizer())
    assert found.tokens.tolist() == [97, 98, 256]
