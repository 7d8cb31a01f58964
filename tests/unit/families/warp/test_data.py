"""Splits: what is held out, how it is scaled, and which mistakes are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from weft.data.source import Source, Splits
from weft.errors import ConfigError
from weft.families.warp.config import Config
from weft.families.warp.data import data_spec, load_splits
from weft.families.warp.sets.source import Scale, SeriesSource, extremes

SETS = ("digits", "trends", "spirals", "msd", "msd-zero", "msd-2", "lotka", "sine", "lorenz", "icl")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WEFT_DATA", raising=False)


def config(
    dataset: str, *, batch_size: int = 4, top: dict[str, Any] | None = None, **data: Any
) -> Config:
    generated = dataset not in ("digits",)
    sizes = {"train_size": 20, "test_size": 6} if generated else {}
    steps = {"sequence_length": 16} if generated else {}
    values = {"dataset": dataset, **sizes, **steps, **data}
    tree = {"steps": 1, "batch_size": batch_size, "data": values, **(top or {})}
    return Config.model_validate(tree)


def everything(source: Source | None) -> dict[str, Tensor]:
    assert source is not None
    return next(iter(source.batches(10**6)))


def rows(splits: Splits) -> list[bytes]:
    return [
        row.numpy().tobytes()
        for source in (splits.train, splits.val, splits.test)
        for row in everything(source)["x"]
    ]


@pytest.mark.parametrize("dataset", SETS)
def test_batches_are_what_the_spec_says(dataset: str) -> None:
    settings = config(dataset)
    spec, splits = data_spec(settings), load_splits(settings)
    for split in ("train", "val", "test"):
        source = getattr(splits, split)
        assert len(source) == spec.sizes[split]
        batch = next(iter(source.batches(5)))
        assert set(batch) == set(spec.fields)
        for name, field in spec.fields.items():
            assert batch[name].shape[1:] == field.shape
            assert batch[name].dtype == field.dtype
            assert batch[name].isfinite().all()
    plan = splits.train.plan(0, 0)
    assert len(plan) == spec.batches_per_epoch
    taken = splits.train.take(plan[0], torch.Generator())
    assert taken["x"].shape == (*spec.batch_shape, spec.steps, spec.channels)
    assert spec.times.tolist() == pytest.approx(np.linspace(0, 1, spec.steps), abs=1e-6)


@pytest.mark.parametrize("dataset", [name for name in SETS if name not in ("lotka", "lorenz")])
def test_splits_are_disjoint_and_a_function_of_data_seed_alone(dataset: str) -> None:
    first = rows(load_splits(config(dataset)))
    assert len(set(first)) == len(first) or dataset == "digits"
    assert rows(load_splits(config(dataset, top={"seed": 9}))) == first
    assert rows(load_splits(config(dataset, seed=1))) != first


def test_a_tenth_is_held_out_and_a_share_of_none_holds_out_nothing() -> None:
    assert data_spec(config("msd")).sizes == {"train": 18, "val": 2, "test": 6}
    assert data_spec(config("msd", train_size=90)).sizes["val"] == 9
    none = config("msd", val_share=0)
    assert data_spec(none).sizes == {"train": 20, "val": 0, "test": 6}
    assert load_splits(none).val is None
    assert data_spec(config("msd", train_size=5)).sizes["val"] == 1


def test_held_out_items_have_every_class_in_proportion() -> None:
    splits = load_splits(config("spirals", train_size=40, val_share=0.25))
    assert everything(splits.val)["label"].bincount().tolist() == [5, 5]
    assert everything(splits.train)["label"].bincount().tolist() == [15, 15]


def test_held_out_items_are_training_items_of_the_run_that_holds_out_none() -> None:
    parts = load_splits(config("icl"))
    whole = load_splits(config("icl", val_share=0))
    both = torch.cat((everything(parts.train)["x"], everything(parts.val)["x"]))
    assert {r.numpy().tobytes() for r in both} == {
        r.numpy().tobytes() for r in everything(whole.train)["x"]
    }


def test_a_small_training_set_lies_within_a_larger_one_of_the_same_pictures() -> None:
    small, large = (
        everything(load_splits(config("digits", train_size=n, val_share=0)).train)["x"]
        for n in (30, 60)
    )
    assert {r.numpy().tobytes() for r in small} <= {r.numpy().tobytes() for r in large}


@pytest.mark.parametrize(("positive", "low"), [(False, -1.0), (True, 0.0)])
def test_extremes_of_the_training_part_become_the_ends_of_the_scale(
    positive: bool, low: float
) -> None:
    top = {"unit_normalise": positive}
    splits = load_splits(config("msd", normalize=True, top=top))
    train = everything(splits.train)["x"]
    assert train.amin((0, 1)).tolist() == pytest.approx([low, low], abs=1e-6)
    assert train.amax((0, 1)).tolist() == pytest.approx([1, 1], abs=1e-6)
    # The test set takes the training part's scale: it ranges wider, and may leave the ends.
    raw = everything(load_splits(config("msd")).test)["x"]
    source = cast(SeriesSource, splits.test)
    assert torch.allclose(source.unscale(everything(source)["x"]), raw, atol=1e-5)
    assert cast(SeriesSource, splits.train).scale is source.scale


def test_values_of_a_constant_channel_stay_finite() -> None:
    raw = torch.stack((torch.ones(3, 4), torch.arange(12.0).view(3, 4)), 2)
    scaled = extremes(positive=False)(raw)(raw)
    assert scaled[..., 0].abs().max() == 0
    assert scaled[..., 1].max() == 1


def test_sources_move_with_their_scale_and_scale_any_shape_of_indices() -> None:
    source = cast(SeriesSource, load_splits(config("icl")).train)
    moved = source.to(torch.device("meta"))
    assert moved.scale.unit.device.type == "meta"
    batch = source.take(torch.tensor([[0, 1], [2, 3]]), torch.Generator())
    assert batch["x"].shape == (2, 2, 16, 5)
    assert batch["target"].shape == (2, 2, 16, 1)
    assert torch.equal(batch["x"][1, 0], source.take(torch.tensor([2]), torch.Generator())["x"][0])


def test_an_input_of_the_past_alone_repeats_its_last_step_and_keeps_the_rest_as_target() -> None:
    x = torch.arange(24.0).view(2, 6, 2)
    scale = Scale(torch.tensor(1.0), torch.tensor(2.0))
    batch = SeriesSource({"x": x}, 1, scale, past=4).take(torch.tensor([1]), torch.Generator())
    target = (x[1:] - 1) / 2
    assert torch.equal(batch["target"], target)
    assert torch.equal(batch["x"][:, :4], target[:, :4])
    assert torch.equal(batch["x"][:, 4:], target[:, 3:4].expand(1, 2, 2))


def test_data_dim_keeps_the_first_channels() -> None:
    whole, narrow = (
        everything(load_splits(config("msd", normalize=True, data_dim=n)).test)["x"]
        for n in (None, 1)
    )
    assert data_spec(config("msd", data_dim=1)).channels == 1
    assert torch.allclose(narrow, whole[..., :1])
    red = config("lotka", data_dim=1)
    assert data_spec(red).outputs == everything(load_splits(red).train)["target"].shape[2] == 1


@pytest.mark.parametrize(
    ("values", "where", "expected"),
    [
        ({"dataset": "msd", "batch_size": 19}, "batch_size", "batch_size <= 18"),
        ({"dataset": "digits", "train_size": 2000}, "data.train_size", "train_size <= 1437"),
        ({"dataset": "digits", "test_size": 361}, "data.test_size", "test_size <= 360"),
        ({"dataset": "digits", "sequence_length": 8}, "data.sequence_length", "downsample_factor"),
        ({"dataset": "msd", "data_dim": 3}, "data.data_dim", "data_dim <= 2"),
        ({"dataset": "sine", "subset": "vast"}, "data.subset", "tiny, small, medium"),
        ({"dataset": "msd", "subset": "tiny"}, "data.subset", "null"),
        ({"dataset": "ett", "subset": "h3"}, "data.subset", "h1, h2, m1, m2"),
    ],
)
def test_options_that_do_not_fit_the_set_are_refused(
    values: dict[str, Any], where: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        data_spec(config(**values))
    assert caught.value.where == where
    assert expected in caught.value.expected
