"""The run's text: what the spec says is what the splits hold, and real sets have known sizes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from weft.errors import ConfigError, MissingExtra
from weft.families.feedback import data as feedback_data
from weft.families.feedback.config import Config
from weft.families.feedback.data import TextSpec, data_spec, load_splits, load_tokenizer
from weft.families.feedback.options.sections import FeedbackData
from weft.families.feedback.sets import rules
from weft.families.feedback.sets.chunks import tokenised
from weft.families.feedback.sets.corpus import Corpus, open_corpus

real = pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="no real data sets here")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all tests here, so that real text is tokenised once."""
    monkeypatch.setenv("WEFT_CACHE", str(kept))


def config_of(batch_size: int = 8, **data: Any) -> Config:
    return Config(steps=1, batch_size=batch_size, data={"block_size": 128, **data})


def padding(spec: TextSpec, config: Config) -> float:
    """Share of the positions of an epoch that hold no text."""
    train = load_splits(config).train
    rows = [train.take(index, torch.Generator())["tokens"] for index in train.plan(0, 0)]
    pads = sum(int((row == spec.vocabulary.pad_id).sum()) for row in rows)
    return pads / sum(row.numel() for row in rows)


@pytest.mark.parametrize("batching", ["packed", "buckets", "padded"])
def test_the_spec_says_what_the_splits_hold(batching: str) -> None:
    config = config_of(batching=batching)
    spec, splits = data_spec(config), load_splits(config)
    assert splits.val is not None
    assert splits.test is None
    assert spec.sizes == {"train": len(splits.train), "val": len(splits.val), "test": 0}
    plan = splits.train.plan(0, 0)
    assert len(plan) == spec.batches_per_epoch
    batch = splits.train.take(plan[0], torch.Generator())
    assert set(batch) == set(spec.fields)
    for name, field in spec.fields.items():
        assert batch[name].dtype == field.dtype
        assert batch[name].shape[0] == spec.batch_shape[0]
        if batching == "packed":
            assert batch[name].shape[1:] == field.shape
    assert spec.num_classes == spec.vocabulary.size == 384
    vocabulary = spec.vocabulary
    held_out = torch.cat([b["tokens"].flatten() for b in splits.val.batches(16)])
    assert spec.tokens["val"] == int((held_out != vocabulary.pad_id).sum())
    assert int((held_out == vocabulary.end_id).sum()) == 19
    assert int(held_out.max()) <= vocabulary.pad_id
    assert not (held_out == vocabulary.mask_id).any()


def test_a_batch_that_cannot_be_filled_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="does not fill a batch of 4000") as caught:
        data_spec(config_of(batch_size=4000))
    assert "chunks" in caught.value.hint


def test_a_warm_cache_needs_neither_the_text_nor_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers")
    config = config_of(tokenizer="bpe", vocab_size=512)
    cold = data_spec(config)
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    def unread(name: str, data: FeedbackData, **_: bool) -> Corpus:
        def read(split: str) -> list[str]:
            raise AssertionError(f"{split} was read")

        return Corpus(open_corpus(name, data).keys, read)

    monkeypatch.setattr(feedback_data, "open_corpus", unread)
    assert data_spec(config) == cold
    with pytest.raises(MissingExtra):
        load_tokenizer(config.data).encode(["new text"])


def test_pairs_are_learnt_from_the_training_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers")
    read = []

    def watched(name: str, data: FeedbackData, **_: bool) -> Corpus:
        found = open_corpus(name, data)
        return Corpus(found.keys, lambda split: read.append(split) or found.read(split))

    monkeypatch.setattr(feedback_data, "open_corpus", watched)
    data = FeedbackData(tokenizer="bpe", vocab_size=700)
    tokenizer = load_tokenizer(data)
    assert read == ["train"]
    assert tokenizer.vocabulary.pad_id == 699
    assert tokenizer.vocabulary.size == 768
    text = open_corpus("text", data).read("val")[0]
    [ids] = tokenizer.encode([text])
    assert tokenizer.decode(ids) == text
    assert len(ids) < 0.5 * len(text)


def test_a_restricted_vocabulary_is_smaller_and_loses_no_text() -> None:
    pytest.importorskip("tokenizers")
    full = FeedbackData(tokenizer="bpe", vocab_size=1500)
    restricted = full.model_copy(update={"restrict_vocab": True})
    assert len(load_tokenizer(restricted).pieces) < len(load_tokenizer(full).pieces)
    own = open_corpus("text", full)
    assert load_tokenizer(restricted).key != load_tokenizer(full).key
    for split in own.keys:
        texts = own.read(split)
        tokenizer = load_tokenizer(restricted)
        assert [tokenizer.decode(ids) for ids in tokenizer.encode(texts)] == texts


def test_the_order_of_the_corpora_of_a_tokenizer_does_not_matter(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    for name in "ab":
        (tmp_path / name).write_text(f"ex{name}mple of {name} text, ex{name}mple\n\nheld out")
    names = (str(tmp_path / "a"), str(tmp_path / "b"))
    first, second = (
        load_tokenizer(FeedbackData(tokenizer="bpe", vocab_size=300, tokenizer_corpora=corpora))
        for corpora in (names, names[::-1])
    )
    assert first.key == second.key
    assert first.pieces == second.pieces


@pytest.mark.slow
@real
def test_gsm8k_in_compatible_mode_has_116_batches_of_64() -> None:
    pytest.importorskip("tokenizers")
    config = config_of(
        64, dataset="gsm8k", tokenizer="gpt2", block_size=512, batching="padded", download=False
    )
    spec = data_spec(config)
    assert spec.sizes == {"train": 7_473, "val": 1_319, "test": 0}
    assert spec.batches_per_epoch == 116
    assert spec.tokens == {"train": 1_166_609, "val": 211_302}
    assert spec.num_classes == 50_304
    assert padding(spec, config) == pytest.approx(0.52, abs=0.005)


@real
@pytest.mark.slow
def test_packing_gsm8k_wastes_less_than_three_percent() -> None:
    pytest.importorskip("tokenizers")
    config = config_of(64, dataset="gsm8k", tokenizer="gpt2", block_size=512, download=False)
    spec = data_spec(config)
    assert padding(spec, config) < 0.03
    assert spec.batches_per_epoch == 36


@real
def test_a_restricted_vocabulary_holds_the_ids_that_gsm8k_uses() -> None:
    pytest.importorskip("tokenizers")
    data = FeedbackData(dataset="gsm8k", tokenizer="gpt2", restrict_vocab=True, download=False)
    full, tokenizer = load_tokenizer(FeedbackData(tokenizer="gpt2")), load_tokenizer(data)
    used = set(tokenised(open_corpus("gsm8k", data), "train", full).tokens.tolist())
    assert len(used) == 14_515  # end-of-text among them
    needed = {full.pieces[number] for number in used if number < 50_256}
    assert set(tokenizer.pieces) == needed | {bytes([value]) for value in range(256)}


@real
@pytest.mark.slow
def test_the_validation_text_of_wikitext_has_2461_chunks() -> None:
    pytest.importorskip("tokenizers")
    data = FeedbackData(dataset="wikitext", tokenizer="gpt2", download=False)
    tokenizer, corpus = load_tokenizer(data), open_corpus("wikitext", data)
    documents = tokenised(corpus, "val", tokenizer)
    assert len(documents.chunk_lengths(512)) == len(documents.lengths) == 2_461
    assert len(documents.tokens) == 258_522


@real
@pytest.mark.slow
def test_the_training_text_of_wikitext_fills_371_padded_batches() -> None:
    pytest.importorskip("tokenizers")
    config = config_of(
        64, dataset="wikitext", tokenizer="gpt2", block_size=512, batching="padded", download=False
    )
    spec = data_spec(config)
    # 23,788 chunks in the raw edition; this is the one with <unk>, of as many documents.
    assert spec.sizes == {"train": 23_794, "val": 2_461, "test": 2_892}
    assert spec.batches_per_epoch == 371


def test_a_mixture_trains_on_so_many_documents_of_each_set_and_is_held_out_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "SIZES", {"train": 40, "val": 20, "test": 24})
    alone = config_of(dataset="text", batching="padded")
    mixed = config_of(
        dataset="rules-dictionary",
        mixed_with=["rules-permutation", "text"],
        documents=30,
        mixed_documents=20,
        batching="padded",
    )
    spec = data_spec(mixed)
    text = data_spec(config_of(dataset="text", documents=20, batching="padded"))
    assert spec.tokens["train"] == 30 * 31 + 20 * 32 + text.tokens["train"]
    assert text.tokens["train"] < data_spec(alone).tokens["train"]
    assert (spec.sizes["val"], spec.sizes["test"]) == (20, 24)
