"""Batches hold every chunk's own tokens, by a plan that is a pure function of seed and epoch."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.data.source import Batch
from weft.families.feedback.sets.batching import ChunkSource, PackedSource
from weft.families.feedback.sets.chunks import Chunks, Documents
from weft.families.feedback.sets.packing import pack

PAD = 9_999
BLOCK = 24
NO_DRAWS = torch.Generator()

lengths = st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=40)


def chunks_of(sizes: list[int], block: int = BLOCK) -> Chunks:
    documents = Documents(np.arange(sum(sizes), dtype=np.int32), np.array(sizes, np.int64))
    return Chunks.of(documents, block, PAD)


def some(count: int = 60) -> Chunks:
    draw = random.Random(1)
    return chunks_of([draw.randint(1, BLOCK) for _ in range(count)])


def sources(chunks: Chunks, batch_size: int = 4) -> list[ChunkSource]:
    return [
        ChunkSource(chunks, batch_size),
        ChunkSource(chunks, batch_size, bucket_width=8, by_length=True),
        PackedSource(chunks, batch_size),
    ]


def documents_in(batch: Batch) -> list[list[int]]:
    """The tokens of each document of a batch, from what the batch alone says."""
    tokens = batch["tokens"]
    if "document" not in batch:
        return [[t for t in row if t != PAD] for row in tokens.tolist()]
    found = []
    for row, document, position in zip(tokens, batch["document"], batch["position"], strict=True):
        assert torch.equal(row == PAD, document == -1)
        assert not position[document == -1].any()
        for number in range(int(document.max()) + 1):
            mine = document == number
            assert torch.equal(position[mine], torch.arange(int(mine.sum())))
            found.append(row[mine].tolist())
    return found


def epoch_of(source: ChunkSource, seed: int = 0, epoch: int = 0) -> list[Batch]:
    return [source.take(index, NO_DRAWS) for index in source.plan(seed, epoch)]


@given(lengths, st.randoms())
def test_packed_rows_hold_each_chunk_once_and_never_too_much(
    sizes: list[int], shuffler: random.Random
) -> None:
    sizes = [min(size, BLOCK) for size in sizes]
    shuffler.shuffle(sizes)
    rows = pack(sizes, BLOCK)
    assert sorted(number for row in rows for number in row) == list(range(len(sizes)))
    sums = [sum(sizes[number] for number in row) for row in rows]
    assert max(sums) <= BLOCK
    # No two rows could have been one, as with any fit.
    assert all(a + b > BLOCK for i, a in enumerate(sums) for b in sums[:i])


def test_a_chunk_goes_into_the_fullest_row_with_room() -> None:
    assert pack([6, 5, 3, 4, 1, 1], 10) == [[0, 2, 5], [1, 3, 4]]


def test_packing_lengths_like_those_of_gsm8k_wastes_less_than_three_percent() -> None:
    draw = random.Random(0)
    sizes = [min(440, max(40, round(draw.lognormvariate(5.0, 0.35)))) for _ in range(7_000)]
    rows = pack(sorted(sizes, reverse=True), 512)
    assert 1 - sum(sizes) / (512 * len(rows)) < 0.03


@given(lengths, st.integers(0, 3))
def test_an_epoch_holds_chunks_whole_and_at_most_once(sizes: list[int], epoch: int) -> None:
    chunks = chunks_of(sizes)
    own = {
        tuple(range(start, start + length))
        for start, length in zip(chunks.start.tolist(), chunks.length.tolist(), strict=True)
    }
    for source in sources(chunks, batch_size=2):
        batches = epoch_of(source, epoch=epoch)
        assert len(batches) == source.batches_per_epoch
        found = [tuple(one) for batch in batches for one in documents_in(batch)]
        assert set(found) <= own
        assert len(set(found)) == len(found)
        # What is left over does not fill a batch.
        if not isinstance(source, PackedSource):
            assert len(own) - len(found) < 2


@pytest.mark.parametrize("which", range(3), ids=["padded", "buckets", "packed"])
def test_the_plan_is_a_pure_function_of_seed_and_epoch(which: int) -> None:
    source, again = sources(some())[which], sources(some())[which]
    plan = source.plan(3, 5)
    assert all(torch.equal(a, b) for a, b in zip(plan, again.plan(3, 5), strict=True))
    for other in (source.plan(3, 6), source.plan(4, 5)):
        assert len(other) == len(plan)
        assert not all(a.shape == b.shape and a.equal(b) for a, b in zip(plan, other, strict=True))


@pytest.mark.parametrize("which", range(3), ids=["padded", "buckets", "packed"])
def test_every_chunk_is_seen_in_some_epoch(which: int) -> None:
    source = sources(some(), batch_size=7)[which]
    seen = Counter(
        tuple(one) for epoch in range(12) for b in epoch_of(source, epoch=epoch)
        for one in documents_in(b)
    )  # fmt: skip
    assert len(seen) == 60


@pytest.mark.parametrize("which", range(3), ids=["padded", "buckets", "packed"])
def test_parts_of_an_index_give_the_parts_of_its_batch(which: int) -> None:
    source = sources(some())[which]
    index = source.plan(0, 0)[0]
    whole = source.take(index, NO_DRAWS)
    parts = [source.take(part, NO_DRAWS) for part in index.chunk(2)]
    for name in whole:
        assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))


def test_padded_batches_are_as_wide_as_their_longest_chunk() -> None:
    for batch in epoch_of(sources(some())[0]):
        assert batch["tokens"].shape == (4, max(map(len, documents_in(batch))))


def test_buckets_have_few_widths_and_little_padding() -> None:
    padded, buckets, _ = sources(some(600), batch_size=8)
    widths = {batch["tokens"].shape[1] for batch in epoch_of(buckets)}
    assert widths == {8, 16, 24}

    def padding(source: ChunkSource) -> float:
        rows = [batch["tokens"] for batch in epoch_of(source)]
        return sum(int((r == PAD).sum()) for r in rows) / sum(r.numel() for r in rows)

    assert padding(buckets) < 0.3 < 0.4 < padding(padded)


def test_no_bucket_is_wider_than_a_block() -> None:
    source = ChunkSource(some(600), 8, bucket_width=18, by_length=True)
    assert {batch["tokens"].shape[1] for batch in epoch_of(source)} == {18, BLOCK}


def test_buckets_come_in_random_order() -> None:
    widths = [batch["tokens"].shape[1] for batch in epoch_of(sources(some(600))[1])]
    assert widths != sorted(widths)


def test_packed_rows_are_as_long_as_a_block_and_documents_change_company() -> None:
    source = sources(some(600))[2]
    company = []
    for epoch in range(2):
        batches = epoch_of(source, epoch=epoch)
        assert {batch["tokens"].shape for batch in batches} == {(4, BLOCK)}
        company.append(
            {frozenset(row[row != PAD].tolist()) for b in batches for row in b["tokens"]}
        )
    assert len(company[0] & company[1]) < 0.5 * len(company[0])


@pytest.mark.parametrize("which", range(3), ids=["padded", "buckets", "packed"])
def test_evaluation_sees_all_chunks_in_order_one_a_row(which: int) -> None:
    source = sources(some())[which]
    batches = list(source.batches(7))
    assert [len(batch["tokens"]) for batch in batches] == [7] * 8 + [4]
    assert [t for b in batches for row in documents_in(b) for t in row] == list(
        range(len(source.chunks.tokens))
    )
    for batch in batches:
        assert set(batch) == {"tokens"}
        assert batch["tokens"].shape[1] == max(map(len, documents_in(batch)))
    assert len(source) == 60


def test_a_batch_larger_than_the_data_leaves_no_batch() -> None:
    for source in sources(some(3), batch_size=4):
        assert source.batches_per_epoch == 0
        assert list(source.plan(0, 0)) == []


def test_moving_a_source_keeps_its_kind_and_its_options() -> None:
    for source in sources(some()):
        moved = source.to(torch.device("cpu"))
        assert type(moved) is type(source)
        assert replace(moved, chunks=source.chunks) == source
