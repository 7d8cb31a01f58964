"""The run's text: its tokenizer, its shapes and sizes, and its splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from weft.data import fetch
from weft.data.cache import cached, checksum
from weft.data.gate import Part, hold
from weft.data.own import own_file
from weft.data.source import DataSpec, Field, Source, Splits
from weft.data.used import checksum_of, note
from weft.errors import ConfigError
from weft.families.feedback.config import Config
from weft.families.feedback.options.sections import FeedbackData
from weft.families.feedback.sets import bpe
from weft.families.feedback.sets.batching import ChunkSource, PackedSource
from weft.families.feedback.sets.chunks import Chunks, Documents, tokenised
from weft.families.feedback.sets.corpus import Corpus, open_corpus
from weft.families.feedback.sets.tokenizer import (
    NUM_SPECIAL,
    BpeTokenizer,
    ByteTokenizer,
    JsonTokenizer,
    RestrictedTokenizer,
    Tokenizer,
    Vocabulary,
)


@dataclass(frozen=True, kw_only=True)
class TextSpec(DataSpec):
    """Shapes and sizes of the text. `num_classes` is V; in addition to `DataSpec` it has:

    Attributes:
        vocabulary: the ids and their meaning.
        tokens: number of tokens in each split, with end-of-text and without padding.
    """

    vocabulary: Vocabulary
    tokens: Mapping[str, int]


def load_tokenizer(data: FeedbackData) -> Tokenizer:
    """The tokenizer of the config; byte pairs are learnt from text once, and then cached.

    Raises:
        DataError: if a file is missing, damaged or cannot be read.
        MissingExtra: if text must be encoded for it, and `tokenizers` is not installed.
    """
    if data.tokenizer == "bytes":
        return ByteTokenizer()
    if data.tokenizer == "json":
        return _foreign(data)
    full = _learnt(data) if data.tokenizer == "bpe" else _ranked(data)
    if not data.restrict_vocab:
        return full
    corpora = _vocabulary_corpora(data)
    key = checksum("restricted", full.key, *sorted(corpus.keys["train"] for corpus in corpora))
    used = np.concatenate(
        [np.unique(tokenised(corpus, "train", full).tokens) for corpus in corpora]
    )
    return RestrictedTokenizer(full, used[used != full.vocabulary.end_id], key)


def data_spec(config: Config) -> TextSpec:
    """Shapes and sizes of the run's data; text that is not in the cache is tokenised first.

    Raises:
        ConfigError: if an epoch has no whole batch.
    """
    tokenizer = load_tokenizer(config.data)
    sources = _sources(config, tokenizer)
    train = sources["train"]
    if not train.batches_per_epoch:
        raise ConfigError(
            f"`{config.data.dataset}` does not fill a batch of {config.batch_size}",
            where="batch_size",
            expected="at most as many as there are chunks, or packed rows of them",
            hint=f"there are {len(train):,} chunks, {len(train.chunks.tokens):,} tokens in all",
        )
    row = Field((config.data.block_size,), torch.int64, at_most=True)
    names = ("tokens", "document", "position") if config.batching == "packed" else ("tokens",)
    fields = dict.fromkeys(names, row)
    if config.data.prompt_end is not None:
        fields["given"] = Field(row.shape, torch.bool, at_most=True)
    return TextSpec(
        fields=fields,
        batch_shape=(config.batch_size,),
        batches_per_epoch=train.batches_per_epoch,
        sizes={s: len(sources[s]) if s in sources else 0 for s in ("train", "val", "test")},
        num_classes=tokenizer.vocabulary.size,
        vocabulary=tokenizer.vocabulary,
        tokens={split: len(source.chunks.tokens) for split, source in sources.items()},
    )


def load_splits(config: Config) -> Splits[Source]:
    """The run's sources, on the CPU."""
    sources = _sources(config, load_tokenizer(config.data))
    return Splits(sources["train"], sources["val"], sources.get("test"))


def _sources(config: Config, tokenizer: Tokenizer) -> dict[str, ChunkSource]:
    """The source of every split there is."""
    corpus = open_corpus(config.data.dataset, config.data)
    found = {split: _source(config, corpus, split, tokenizer) for split in corpus.keys}
    parts = {split: Part(len(source.chunks)) for split, source in found.items()}
    hold(parts, config.data.dataset, ("train", "val"))
    return found


def _source(config: Config, corpus: Corpus, split: str, tokenizer: Tokenizer) -> ChunkSource:
    data = config.data
    documents = tokenised(corpus, split, tokenizer, data.prompt_end)
    if split == "train":
        others = [open_corpus(name, data) for name in data.mixed_with]
        parts = [tokenised(other, split, tokenizer, data.prompt_end) for other in others]
        documents = Documents.joined(
            [documents.first(data.documents), *(p.first(data.mixed_documents) for p in parts)]
        )
    chunks = Chunks.of(documents, data.block_size, tokenizer.vocabulary.pad_id)
    if config.batching == "padded":
        return ChunkSource(chunks, config.batch_size)
    kind = PackedSource if config.batching == "packed" else ChunkSource
    return kind(chunks, config.batch_size, data.bucket_width, by_length=True)


def _vocabulary_corpora(data: FeedbackData) -> list[Corpus]:
    """The corpora whose training text determines the ids, which are also those of a base."""
    names = data.tokenizer_corpora or (data.dataset,)
    return [open_corpus(name, data, whole=True) for name in names]


def _learnt(data: FeedbackData) -> Tokenizer:
    """Byte pairs learnt from the training text."""
    corpora = _vocabulary_corpora(data)
    num_pieces = data.vocab_size - NUM_SPECIAL
    key = checksum("bpe", num_pieces, *sorted(corpus.keys["train"] for corpus in corpora))

    def texts() -> Iterator[str]:
        for corpus in corpora:
            yield from corpus.read("train")

    kept = cached("tokenizers", key[:32], lambda: {"merges": bpe.learn(texts(), num_pieces)})
    merges = tuple((int(a), int(b)) for a, b in kept["merges"])
    return BpeTokenizer(bpe.pieces_of(merges), key, merges)


def _foreign(data: FeedbackData) -> Tokenizer:
    """A tokenizer.json of the user's."""
    path = own_file(
        str(data.tokenizer_file), root=data.root, expected="a tokenizer.json",
        where="data.tokenizer_file",
    )  # fmt: skip
    return JsonTokenizer(bpe.read_json(path), checksum("json", checksum_of(path)))


def _ranked(data: FeedbackData) -> Tokenizer:
    """GPT-2's byte pairs, from the rank file."""
    if data.tokenizer_file is not None:
        path = own_file(
            data.tokenizer_file, root=data.root, expected="a rank file such as gpt2.tiktoken",
            where="data.tokenizer_file",
        )  # fmt: skip
    else:
        _, [path] = fetch.require("gpt2-bpe", "ranks", root=data.root, download=data.download)
    pieces = bpe.read_ranks(path)
    digest = checksum_of(path)
    if data.tokenizer_file is not None:
        note(path, sha256=digest)
    return BpeTokenizer(pieces, checksum("ranks", digest))
