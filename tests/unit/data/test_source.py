"""Plans and streams are pure functions of their arguments, and independent of each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.data.random import derive, stream
from weft.data.source import DataSpec, Field, Splits, TensorSource


def _source(count: int = 10, batch_size: int = 3) -> TensorSource:
    items = torch.arange(count)
    return TensorSource({"x": items * 10, "y": items[:, None] + 0.5}, batch_size)


@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
@settings(max_examples=50)
def test_a_plan_is_a_permutation_in_whole_batches(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    plan = _source(count, batch_size).plan(seed, epoch)
    assert len(plan) == count // batch_size
    assert all(len(batch) == batch_size for batch in plan)
    drawn = [index for batch in plan for index in batch.tolist()]
    assert len(set(drawn)) == len(drawn) == count // batch_size * batch_size
    assert set(drawn) <= set(range(count))


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    source = _source(100, 100)
    torch.manual_seed(1)
    first = source.plan(3, 4)[0]
    torch.manual_seed(2)
    source.plan(0, 0)
    assert torch.equal(first, source.plan(3, 4)[0])
    assert not torch.equal(first, source.plan(3, 5)[0])
    assert not torch.equal(first, source.plan(4, 4)[0])


def test_a_plan_and_a_take_leave_global_randomness_alone() -> None:
    before = torch.get_rng_state()
    source = _source()
    source.take(source.plan(0, 0)[0], torch.Generator())
    assert torch.equal(before, torch.get_rng_state())


def test_take_gives_the_items_of_any_shape_of_indices() -> None:
    source, generator = _source(), torch.Generator()
    batch = source.take(torch.tensor([[1, 2], [9, 0]]), generator)
    assert batch["x"].tolist() == [[10, 20], [90, 0]]
    assert batch["y"].shape == (2, 2, 1)
    again = source.take(torch.tensor([[1, 2], [9, 0]]), generator)
    assert all(torch.equal(batch[name], again[name]) for name in batch)


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_batches_give_every_item_once_in_order(size: int) -> None:
    batches = list(_source().batches(size))
    assert torch.cat([batch["x"] for batch in batches]).tolist() == list(range(0, 100, 10))
    assert all(len(batch["x"]) == size for batch in batches[:-1])
    assert 1 <= len(batches[-1]["x"]) <= size


def test_sources_move_to_a_device_and_keep_their_batch_size() -> None:
    moved = Splits(_source(), None, _source()).to(torch.device("meta"))
    assert moved.val is None
    assert isinstance(moved.train, TensorSource)
    assert moved.train.batch_size == 3
    assert all(tensor.is_meta for tensor in moved.train.fields.values())


def test_an_example_batch_has_the_spec_s_shapes_and_dtypes() -> None:
    spec = DataSpec({"x": Field((2,)), "y": Field((), torch.int64)}, (4, 5), 1, {"train": 20})
    example = spec.example()
    assert example["x"].shape == (4, 5, 2)
    assert example["x"].is_meta
    assert (example["y"].shape, example["y"].dtype) == ((4, 5), torch.int64)


def _draw(*key: int | str) -> list[float]:
    return torch.rand(8, generator=stream(*key)).tolist()  # type: ignore[arg-type]


def test_a_stream_is_a_function_of_seed_step_and_name() -> None:
    keys = [(0, 0, "coin"), (1, 0, "coin"), (0, 1, "coin"), (0, 0, "noise")]
    draws = [_draw(*key) for key in keys]
    assert draws == [_draw(*key) for key in keys]
    assert len({tuple(draw) for draw in draws}) == len(keys)


def test_drawing_from_one_stream_does_not_move_another() -> None:
    alone = _draw(0, 0, "coin")
    other = stream(0, 0, "noise")
    torch.rand(1000, generator=other)
    assert _draw(0, 0, "coin") == alone


def test_neighbouring_streams_are_uncorrelated() -> None:
    draws = torch.stack([torch.randn(4096, generator=stream(0, step, "coin")) for step in range(8)])
    off_diagonal = torch.corrcoef(draws).fill_diagonal_(0)
    # 28 pairs of independent samples of 4096: beyond 5/sqrt(4096) is a chance of about 1e-5.
    assert off_diagonal.abs().max() < 5 / 64


def test_derived_seeds_do_not_depend_on_the_process_and_keep_parts_apart() -> None:
    # Pinned: a change would silently change every run's data order and noise.
    assert derive(0, 0, "plan") == 5135628697676830384
    assert derive("ab", "c") != derive("a", "bc")
    assert 0 <= derive(7) < 2**63
