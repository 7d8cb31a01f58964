"""Sets from files, of others or a user's own, are read, cut and scaled as they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.families.warp.sets.settings import config, everything
from weft.data.series import SeriesSet, load_series
from weft.data.used import noting
from weft.errors import ConfigError, DataError
from weft.families.warp.data import data_spec, load_splits
from weft.families.warp.sets import archive
from weft.families.warp.sets.source import SeriesSource

REAL_DATA = os.environ.get("WEFT_DATA")


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """A folder of five faces: three train, one val, one test; each of one colour."""
    faces = tmp_path / "celeba/img_align_celeba"
    faces.mkdir(parents=True)
    for number in range(5):
        Image.new("RGB", (6, 10), (number * 20, 0, 255)).save(faces / f"{number}.png")
    lines = [f"{number}.png {part}" for number, part in enumerate((0, 2, 0, 1, 0))]
    (tmp_path / "celeba/list_eval_partition.txt").write_text("\n".join(lines))
    return tmp_path


def test_celeba_is_resized_and_keeps_its_official_parts(celeba: Path) -> None:
    settings = config("celeba", root=str(celeba), resolution=(4, 3))
    spec = data_spec(settings)
    assert spec.sizes == {"train": 3, "val": 1, "test": 1}
    assert (spec.fields["x"].shape, spec.canvas) == ((12, 3), (4, 3))
    assert "label" not in spec.fields
    splits = load_splits(settings)
    for source, reds in ((splits.train, (0, 40, 80)), (splits.val, (60,)), (splits.test, (20,))):
        x = cast(SeriesSource, source).unscale(everything(source)["x"])
        assert x[:, 0, 0].round().tolist() == list(reds)
        assert (x[..., 2].round() == 255).all()
    # A second run reads what was kept, and a set cut to one face decodes no other.
    (celeba / "celeba/img_align_celeba/4.png").write_bytes(b"")
    one = load_splits(config("celeba", root=str(celeba), resolution=(4, 3), train_size=1))
    assert len(one.train) == 1
    with pytest.raises(DataError, match=r"4\.png cannot be read"):
        load_splits(settings)


def test_celeba_with_other_pictures_of_the_same_size_is_another_set(celeba: Path) -> None:
    def found() -> dict[str, str]:
        files: dict[str, str] = {}
        with noting(files):
            load_splits(config("celeba", root=str(celeba), resolution=(4, 3)))
        return files

    before = found()
    assert found() == before
    face = celeba / "celeba/img_align_celeba/2.png"
    size = face.stat().st_size
    face.write_bytes((celeba / "celeba/img_align_celeba/0.png").read_bytes().ljust(size, b"\0"))
    assert face.stat().st_size == size
    assert {name for name, sha256 in found().items() if sha256 != before[name]} == {"celeba train"}


def test_celeba_that_is_not_here_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`celeba` is not here") as caught:
        data_spec(config("celeba", root=str(tmp_path)))
    assert str(tmp_path / "celeba/list_eval_partition.txt") in caught.value.hint


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer table m2 of the usual length whose entries are row + channel / 10."""
    rows = np.arange(57_600)[:, None] + np.arange(7) / 10
    lines = ["date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"]
    dates = np.datetime64("2016-07-01T00:00") + 15 * np.arange(len(rows)).astype("m8[m]")
    lines += [
        f"{date},{','.join(f'{v:.1f}' for v in row)}" for date, row in zip(dates, rows, strict=True)
    ]
    folder = tmp_path_factory.mktemp("ett")
    (folder / "ETTm2.csv").write_text("\n".join(lines))
    return folder


def test_forecasts_cover_val_and_test_rows_once_from_training_extremes(table: Path) -> None:
    settings = config("ett", subset="m2", root=str(table), stride=1000)
    assert data_spec(settings).sizes == {"train": 35, "val": 11_425, "test": 11_425}
    splits = load_splits(settings)
    val, test = cast(SeriesSource, splits.val), cast(SeriesSource, splits.test)
    first = val.unscale(val.take(torch.tensor([0]), torch.Generator())["x"])
    last = test.unscale(test.take(torch.tensor([11_424]), torch.Generator())["x"])
    assert first[0, 96, 0].item() == pytest.approx(34_560, abs=0.01)
    assert last[0, -1, 0].item() == pytest.approx(57_599, abs=0.01)
    train = everything(splits.train)["x"]
    assert (train.amin().item(), train.amax().item()) == pytest.approx((-1, 1), abs=1e-5)
    assert "target" not in data_spec(settings).fields


def test_a_forecast_that_is_not_fed_back_sees_the_past_alone(table: Path) -> None:
    top = {"grounding_length": 15, "autoregressive": False}
    settings = config("ett", subset="m2", root=str(table), stride=5000, top=top)
    assert (data_spec(settings).outputs, data_spec(settings).context) == (7, 96)
    batch = everything(load_splits(settings).train)
    assert torch.equal(batch["x"][:, :96], batch["target"][:, :96])
    assert torch.equal(batch["x"][:, 96:], batch["x"][:, 95:96].expand(-1, 96, -1))


def test_windows_of_another_length_begin_with_grounding_length_steps(table: Path) -> None:
    top = {"grounding_length": 30, "autoregressive": False}
    own = {"subset": "m2", "root": str(table), "stride": 5000}
    settings = config("ett", **own, sequence_length=40, top=top)
    spec, batch = data_spec(settings), everything(load_splits(settings).train)
    assert (spec.steps, spec.context, spec.sizes["test"]) == (40, 30, 11_520 + 30 - 40 + 1)
    assert torch.equal(batch["x"][:, 30:], batch["target"][:, 29:30].expand(-1, 10, -1))
    with pytest.raises(ConfigError, match="leaves nothing to forecast"):
        data_spec(config("ett", **own, sequence_length=30, top=top))
    with pytest.raises(ConfigError, match="longer than a part"):
        data_spec(config("ett", **own, sequence_length=12_000, top=top))


def test_a_table_the_catalogue_does_not_know_is_named_when_it_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ETTm2\.csv is not here") as caught:
        data_spec(config("ett", subset="m2", root=str(tmp_path)))
    assert str(tmp_path / "ett/ETTm2.csv.gz") in caught.value.hint


def test_traffic_gives_the_past_and_asks_for_the_future(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).uniform(0, 500, (200, 5, 3))
    np.savez(tmp_path / "PEMS08.npz", data=flow)
    settings = config("pems08", root=str(tmp_path))
    spec = data_spec(settings)
    assert spec.sizes == {"train": 97, "val": 17, "test": 17}
    assert (spec.steps, spec.channels, spec.outputs, spec.context) == (24, 5, 5, 12)
    source = cast(SeriesSource, load_splits(settings).test)
    batch = everything(source)
    assert torch.allclose(
        source.unscale(batch["target"])[3, :, 2].double(),
        torch.from_numpy(flow[163:187, 2, 0]),
        atol=1e-3,
    )
    assert torch.equal(batch["x"][:, 12:], batch["target"][:, 11:12].expand(-1, 12, -1))
    flow[0, 0, 0] = np.nan
    np.savez(tmp_path / "PEMS08.npz", data=flow)
    with pytest.raises(DataError) as caught:
        data_spec(settings)
    assert "(0, 0, 0)" in caught.value.hint


def test_series_of_unequal_length_end_together_behind_their_first_value() -> None:
    long, short = np.arange(8, dtype=np.float32).reshape(4, 2), np.full((2, 2), 5, np.float32)
    short[1] = 6
    batch = archive.right_aligned(SeriesSet((long, short), np.array([1, 0]), ("a", "b")), 4)
    assert batch["x"][0].tolist() == long.tolist()
    assert batch["x"][1].tolist() == [[5, 5], [5, 5], [5, 5], [6, 6]]
    assert batch["length"].tolist() == [4, 2]
    cut = archive.right_aligned(SeriesSet((long, short), np.array([1, 0]), ("a", "b")), 3)
    assert cut["x"][0].tolist() == long[:3].tolist()
    assert cut["length"].tolist() == [3, 2]


@pytest.fixture
def ts(tmp_path: Path) -> Path:
    """A loose archive set `Mine`: ten training and four test series, ragged, of one channel."""
    for split, size in (("TRAIN", 10), ("TEST", 4)):
        first = 100 * (split == "TEST")
        series = [[first + i + t / 10 for t in range(2 + i % 3)] for i in range(size)]
        lines = [f"{','.join(map(str, values))}:{i % 2}" for i, values in enumerate(series)]
        head = "@timeStamps false\n@classLabel true 0 1\n@data\n"
        (tmp_path / f"Mine_{split}.ts").write_text(head + "\n".join(lines))
    return tmp_path


def test_a_loose_archive_set_keeps_its_official_parts(ts: Path) -> None:
    settings = config("uea", subset="Mine", root=str(ts), val_share=0.2)
    spec = data_spec(settings)
    assert spec.sizes == {"train": 8, "val": 2, "test": 4}
    assert (spec.steps, spec.channels, spec.num_classes, spec.ragged) == (4, 1, 2, True)
    splits = load_splits(settings)
    test = everything(splits.test)
    assert test["x"][:, 0, 0].tolist() == [100, 101, 102, 103]
    assert test["length"].tolist() == [2, 3, 4, 2]
    assert everything(splits.val)["label"].bincount().tolist() == [1, 1]


def test_pooled_parts_hold_every_series_once(ts: Path) -> None:
    settings = config("uea", subset="Mine-pooled", root=str(ts))
    assert data_spec(settings).sizes == {"train": 10, "val": 2, "test": 2}
    splits = load_splits(settings)
    first = [everything(s)["x"][:, 0, 0] for s in (splits.train, splits.val, splits.test)]
    assert [len(part) for part in first] == [10, 2, 2]
    assert sorted(torch.cat(first).tolist()) == [*range(10), *range(100, 104)]
    other = load_splits(config("uea", subset="Mine-pooled", root=str(ts), seed=1))
    assert not torch.equal(everything(other.train)["x"], everything(splits.train)["x"])


def test_a_stand_in_has_the_shape_and_its_classes_differ_in_frequency() -> None:
    settings = config("uea", subset="EigenWorms-shaped", train_size=10, test_size=5,
                      sequence_length=300, val_share=0)  # fmt: skip
    batch = everything(load_splits(settings).train)
    assert batch["x"].shape == (10, 300, 6)
    power = torch.fft.rfft(batch["x"], dim=1).abs().sum(2)[:, 1:40]
    strongest = power.argmax(1) + 1
    assert (strongest - (4 + 16 * batch["label"] / 5)).abs().max() <= 1


def test_an_absent_archive_set_is_missed_with_stand_ins_to_use(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"EigenWorms_TRAIN\.ts is not here") as caught:
        data_spec(config("uea", subset="EigenWorms", root=str(tmp_path)))
    assert "EigenWorms-shaped" in caught.value.expected


@pytest.mark.skipif(not REAL_DATA, reason="WEFT_DATA is not set: no real data sets here")
def test_japanese_vowels_are_right_aligned_from_the_real_files() -> None:
    settings = config("uea", subset="JapaneseVowels", root=REAL_DATA, val_share=0)
    batch = everything(load_splits(settings).train)
    found = load_series("JapaneseVowels", "train", root=REAL_DATA)
    assert batch["x"].shape == (270, 29, 12)
    for row, (one, length) in enumerate(zip(found.series, batch["length"].tolist(), strict=True)):
        assert len(one) == length
        assert batch["x"][row, 29 - length :].tolist() == one.tolist()
        assert (batch["x"][row, : 29 - length] == batch["x"][row, 29 - length]).all()


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, np.ndarray]:
    """Arrays of a user's own file."""
    rng = np.random.default_rng(0)
    return {
        "X_train": rng.normal(size=(10, 5, 2)),
        "X_test": rng.normal(size=(4, 5, 2)),
        "y_train": np.arange(10) % 3,
        "y_test": np.arange(4) % 3,
        "target_train": rng.normal(size=(10, 5, 1)),
        "target_test": rng.normal(size=(4, 5, 1)),
    }


def test_a_user_s_file_is_read_as_it_says(tmp_path: Path, mine: dict[str, np.ndarray]) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **mine)
    spec = data_spec(config(str(path)))
    assert spec.sizes == {"train": 9, "val": 1, "test": 4}
    assert (spec.steps, spec.channels, spec.outputs, spec.num_classes) == (5, 2, 1, 3)
    batch = everything(load_splits(config(str(path))).test)
    assert torch.allclose(batch["x"].double(), torch.from_numpy(mine["X_test"]), atol=1e-6)
    assert torch.allclose(
        batch["target"].double(), torch.from_numpy(mine["target_test"]), atol=1e-6
    )
    assert batch["label"].tolist() == [0, 1, 2, 0]
    assert data_spec(config("mine.npz", root=str(tmp_path), sequence_length=3)).steps == 3


def test_a_user_s_pictures_are_read_as_pictures(tmp_path: Path) -> None:
    images = np.zeros((6, 4, 4), np.uint8)
    np.savez(tmp_path / "p.npz", train_images=images, train_labels=np.arange(6) % 2,
             test_images=images[:2], test_labels=np.arange(2))  # fmt: skip
    settings = config(str(tmp_path / "p.npz"), val_share=0.5)
    assert data_spec(settings).canvas == (2, 2)
    assert data_spec(settings).sizes == {"train": 3, "val": 3, "test": 2}
    assert load_splits(settings).test is not None


def test_pictures_to_complete_need_no_labels_and_pictures_to_classify_do(tmp_path: Path) -> None:
    images = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4)
    path = str(tmp_path / "p.npz")
    np.savez(path, train_images=images, test_images=images[:2])
    settings = config(path, val_share=0.5)
    spec = data_spec(settings)
    assert spec.num_classes == 0 and set(spec.fields) == {"x"}
    assert set(everything(load_splits(settings).train)) == {"x"}
    with pytest.raises(DataError, match="`train_labels`"):
        data_spec(config(path, top={"supervision_task": "classification"}))


@pytest.mark.parametrize(
    "change",
    [
        {"X_train": np.zeros((10, 5))},
        {"X_train": np.full((10, 5, 2), np.nan)},
        {"y_train": np.zeros(10)},
        {"y_test": np.zeros(3, int)},
        {"target_test": np.zeros((4, 6, 1))},
        {"X_train": np.array([["a"]])},
        {"length_train": np.full(10, 6), "length_test": np.full(4, 5)},
        {"length_train": np.full(10, 0), "length_test": np.full(4, 5)},
        {"X_val": np.zeros((2, 5, 2))},
        {"X_test": np.zeros((4, 6, 2)), "target_test": np.zeros((4, 6, 1))},
    ],
)
def test_a_user_s_file_of_another_form_is_refused(
    tmp_path: Path, mine: dict[str, np.ndarray], change: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **{**mine, **change})
    with pytest.raises(DataError, match=r"mine\.npz") as caught:
        load_splits(config(str(path)))
    assert "cannot be read" in str(caught.value) or "do not fit together" in str(caught.value)
