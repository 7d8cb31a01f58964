"""Each set that is made has the values, shapes and parts that its literature gives it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from tests.unit.families.warp.sets.settings import config, everything
from weft.data.images import load_images
from weft.errors import DataError
from weft.families.warp.data import data_spec, load_splits
from weft.families.warp.sets import trends
from weft.families.warp.sets.forecast import windows
from weft.families.warp.sets.pixels import as_sequence
from weft.families.warp.sets.source import SeriesSource


@pytest.mark.parametrize(
    ("dataset", "subset", "sizes", "shape"),
    [
        ("msd", None, (18_432, 2_048, 4_096), (256, 2)),
        ("msd-2", None, (7_373, 819, 2_048), (256, 2)),
        ("msd-zero", None, (7_373, 819, 2_048), (256, 2)),
        ("lotka", None, (13_500, 1_500, 3_000), (256, 2)),
        ("sine", None, (10_000, 1_000, 1_000), (16, 1)),
        ("sine", "tiny", (1, 1_000, 1_000), (16, 1)),
        ("sine", "large", (1_000, 1_000, 1_000), (16, 1)),
        ("lorenz", None, (43, 5, 16), (1_000, 3)),
        ("trends", None, (432, 48, 120), (60, 1)),
        ("spirals", None, (900, 100, 1_000), (100, 2)),
        ("uea", "EigenWorms-shaped", (115, 13, 131), (17_984, 6)),
        ("uea", "EthanolConcentration-shaped", (235, 26, 263), (1_751, 3)),
        ("uea", "Heartbeat-shaped-pooled", (287, 61, 61), (405, 61)),
    ],
)
def test_sizes_by_default_are_those_of_the_literature(
    dataset: str, subset: str | None, sizes: tuple[int, ...], shape: tuple[int, int]
) -> None:
    spec = data_spec(config(dataset, subset=subset))
    assert tuple(spec.sizes.values()) == sizes
    assert spec.fields["x"].shape == shape


def test_pixels_are_the_kept_bytes_row_by_row_between_minus_one_and_one() -> None:
    splits = load_splits(config("digits", val_share=0, downsample_factor=3))
    raw = load_images("digits", "test").images
    x = everything(splits.test)["x"]
    assert x.shape == (360, 9, 1)
    expected = raw[:, 0, ::3, ::3].reshape(360, 9, 1) / 127.5 - 1
    assert torch.allclose(x, expected, atol=1e-6)
    positive = load_splits(config("digits", downsample_factor=3, top={"unit_normalise": True}))
    assert torch.allclose(everything(positive.test)["x"], (expected + 1) / 2, atol=1e-6)
    assert data_spec(config("digits", downsample_factor=3)).canvas == (3, 3)


def test_colours_become_channels() -> None:
    images = torch.arange(24, dtype=torch.uint8).view(1, 3, 2, 4)
    assert as_sequence(images, 1)[0, 5].tolist() == images[0, :, 1, 1].tolist()
    assert as_sequence(images, 2)[0].tolist() == [[0, 8, 16], [2, 10, 18]]


def test_charts_show_the_pattern_of_their_class() -> None:
    labels = torch.arange(6).repeat_interleave(200)
    made = trends.charts(labels, 60, torch.Generator().manual_seed(0))
    early, late = made[:, :20].mean(1), made[:, 40:].mean(1)
    change = (late - early).view(6, 200)
    assert change[:2].abs().max() < 8
    assert (change[[2, 4]] > 0).all()
    assert (change[[3, 5]] < 0).all()
    # The mean change of a trend is 40 mean slopes, of a shift the mean step of 13.75.
    means = change.mean(1)[[0, 2, 3, 4, 5]].tolist()
    assert means == pytest.approx([0, 14, -14, 13.75, -13.75], abs=1.2)
    noise = made[:200] - 30
    assert noise.abs().max() <= 6
    assert noise.std() == pytest.approx(6 / math.sqrt(3), rel=0.02)
    assert made[200:400].std() > 8


def test_trends_are_standardised_in_every_time_column_by_the_training_part() -> None:
    splits = load_splits(config("trends"))
    train = everything(splits.train)["x"]
    assert train.mean(0).abs().max() < 1e-5
    assert train.std(0, unbiased=False).sub(1).abs().max() < 1e-5
    assert everything(splits.test)["label"].bincount().tolist() == [20] * 6


def test_uci_trends_are_split_in_every_class(tmp_path: Path) -> None:
    table = np.arange(36_000).reshape(600, 60)
    np.savetxt(tmp_path / "synthetic_control.data", table, fmt="%d")
    splits = load_splits(config("trends", subset="uci", root=str(tmp_path)))
    test = everything(splits.test)
    assert test["label"].bincount().tolist() == [20] * 6
    raw = cast(SeriesSource, splits.test).unscale(test["x"])
    assert raw[1, 2, 0].item() == pytest.approx(table[9, 2], rel=1e-5)
    np.savetxt(tmp_path / "synthetic_control.data", table[:10], fmt="%d")
    with pytest.raises(DataError, match=r"\(10, 60\)"):
        load_splits(config("trends", subset="uci", root=str(tmp_path)))


def test_sines_start_at_their_phase_and_small_sets_lie_in_large_ones() -> None:
    large, tiny = (
        everything(load_splits(config("sine", subset=size)).train)["x"]
        for size in ("small", "tiny")
    )
    assert torch.equal(large[:1], tiny)
    phase = torch.asin(large[:, 0, 0])
    assert phase.abs().max() <= math.pi / 6 + 1e-6
    times = torch.linspace(0, 1, 16)
    expected = torch.sin(2 * math.pi * times + phase[:, None])
    assert torch.allclose(large[..., 0], expected, atol=1e-5)


def test_springs_start_where_they_should_and_msd_zero_is_msd_2() -> None:
    sizes = {"train_size": 50, "test_size": 50, "sequence_length": 8}
    fixed, other, zero = (
        everything(load_splits(config(name, **sizes)).test)["x"]
        for name in ("msd", "msd-2", "msd-zero")
    )
    assert torch.equal(fixed[:, 0], torch.tensor((1.0, 0.0)).expand(50, 2))
    shift = other[:, 0] - torch.tensor((1.0, 0.0))
    assert 0.4 < shift.abs().max() <= 0.5
    assert torch.equal(other, zero)


def test_tested_springs_range_wider_than_learnt_ones() -> None:
    splits = load_splits(config("msd", train_size=2000, test_size=2000, sequence_length=64))
    fastest = [everything(s)["x"][..., 1].abs().max() for s in (splits.train, splits.test)]
    assert 20 < fastest[0] < 30 < fastest[1] < 43


def test_lotka_shows_a_beginning_and_asks_for_its_repetition() -> None:
    splits = load_splits(config("lotka", train_size=40, test_size=4, sequence_length=128))
    batch = everything(splits.train)
    low = batch["target"].amin((0, 1))
    shown = (batch["x"] != low).any(2).sum(1)
    assert 16 <= shown.min() < shown.max() < 32
    for x, target, cut in zip(batch["x"], batch["target"], shown.tolist(), strict=True):
        assert torch.equal(target[:cut], x[:cut])
        assert (target[cut : cut + 25] == low).all()
        again = target[cut + 25 : 2 * cut + 25]
        assert torch.equal(again, x[: len(again)])
    assert low.tolist() == pytest.approx([-1, -1], abs=1e-6)


def test_lorenz_stays_on_its_attractor() -> None:
    x = everything(
        load_splits(config("lorenz", train_size=6, test_size=2, sequence_length=200)).train
    )["x"]
    assert x[..., 2].min() > 0
    assert x[..., 2].max() < 50
    assert x[..., :2].abs().max() < 30


def test_regression_can_be_answered_from_its_input_alone() -> None:
    settings = config("icl", data_dim=3, sequence_length=9, train_size=10, test_size=4)
    spec = data_spec(settings)
    assert (spec.channels, spec.outputs, spec.context) == (4, 1, 8)
    batch = everything(load_splits(settings).train)
    assert torch.equal(batch["x"][:, :-1, 3:], batch["target"][:, :-1])
    assert torch.equal(batch["x"][:, -1, 3:], batch["target"][:, -2])


def test_windows_are_views_of_the_table() -> None:
    rows = torch.arange(20.0).view(10, 2)
    cut = windows(rows, 4, 3)
    assert cut.shape == (3, 4, 2)
    assert torch.equal(cut[2], rows[6:10])
    assert cut.untyped_storage().data_ptr() == rows.untyped_storage().data_ptr()
