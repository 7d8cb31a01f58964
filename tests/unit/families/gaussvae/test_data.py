"""Splat sets: the shipped one, packed folders, files a picture; splits, layouts, orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weft import api
from weft.errors import ConfigError, DataError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.data import data_meaning, data_spec, load_splits, load_statistics
from weft.families.gaussvae.sets.drawn import drawn, fit_all, pictures
from weft.families.gaussvae.splats.geometry import to_logcov
from weft.families.gaussvae.splats.packed import Packed, write_packed
from weft.families.gaussvae.splats.quality import psnr
from weft.families.gaussvae.splats.rasterise import render
from weft.families.gaussvae.splats.statistics import Statistics, write_statistics


def config(**data: Any) -> Config:
    return Config.model_validate({"epochs": 1, "batch_size": 4, "data": data})


def packed(folder: Path, items: int = 12, **values: Any) -> Path:
    splats = np.random.default_rng(0).normal(size=(items, 9, 8)).astype(np.float32)
    splats[..., :2] = np.random.default_rng(1).random((items, 9, 2))
    names = tuple(map(str, range(items)))
    write_packed(folder, Packed(splats, names, ((6, 8),) * items, cells=(3, 3), **values))
    return folder


def separate(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    for number in range(count):
        splats = np.random.default_rng(number).random((5, 8), dtype=np.float32)
        np.savez(folder / f"{number:02d}.npz", gaussians=splats)
    return folder


def test_the_shipped_splats_draw_the_drawn_pictures() -> None:
    few = drawn()
    images = torch.from_numpy(np.array(few.images[:20])).float() / 255
    found = render(torch.from_numpy(few.splats[:20]), 32, 32).clamp(0, 1)
    assert float(psnr(found, images).mean()) > 38


@pytest.mark.slow
def test_they_are_about_as_good_as_what_the_fit_finds() -> None:
    wanted = drawn().splats[:4]
    with pytest.warns(UserWarning, match="fitting 64 splats"):
        found = fit_all(pictures(4), 64)
    images = torch.from_numpy(pictures(4)).float() / 255
    ours, theirs = (psnr(render(torch.from_numpy(s), 32, 32).clamp(0, 1), images)
                    for s in (wanted, found))  # fmt: skip
    assert float((ours - theirs).abs().mean()) < 2  # The fit's defaults have been bettered since.


def test_drawn_pictures_depend_on_nothing_but_their_number() -> None:
    assert np.array_equal(pictures(3), pictures(5)[:3])
    assert pictures(1, side=64).shape == (1, 3, 64, 64)


def test_splits_are_by_the_seed_and_share_no_picture() -> None:
    def taken(seed: int) -> list[set[tuple[float, ...]]]:
        chosen = config().model_copy(update={"seed": seed})
        splits = load_splits(chosen)
        return [{tuple(row.flatten().tolist()) for row in source.fields["splats"]}
                for source in (splits.train, splits.val, splits.test)
                if source is not None]  # fmt: skip

    one, again, other = taken(0), taken(0), taken(1)
    assert one == again != other
    assert [len(each) for each in one] == [320, 40, 40]
    assert len(set.union(*one)) == 400


def test_the_spec_is_what_batches_are(tmp_path: Path) -> None:
    for chosen in (config(), config(dataset=str(packed(tmp_path / "a")))):
        spec, source = data_spec(chosen), load_splits(chosen).train
        batch = next(iter(source.batches(4)))
        assert {name: t.shape[1:] for name, t in batch.items()} == {
            name: field.shape for name, field in spec.fields.items()
        }
        assert spec.sizes["train"] == len(source)


def test_splats_come_in_the_layout_and_order_asked_for(tmp_path: Path) -> None:
    folder = str(packed(tmp_path / "a"))
    plain = load_splits(config(dataset=folder)).train.fields["splats"]
    turned = load_splits(config(dataset=folder, layout="rs")).train.fields["splats"]
    torch.testing.assert_close(to_logcov(turned), plain, rtol=1e-4, atol=1e-4)
    ordered = load_splits(config(dataset=folder, order="hilbert")).train.fields["splats"]
    assert not torch.equal(ordered, plain)
    assert torch.equal(ordered.flatten(0, 1).sort(0).values, plain.flatten(0, 1).sort(0).values)


def test_validation_and_test_may_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = [str(packed(tmp_path / name, items)) for name, items in (("a", 12), ("b", 3))]
    chosen = config(dataset=folders[0], test=folders[1])
    splits = load_splits(chosen)
    assert data_spec(chosen).sizes == {"train": 11, "val": 1, "test": 3}
    assert splits.test is not None and len(splits.test) == 3
    other = packed(tmp_path / "c", sampling="corner")
    with pytest.raises(DataError, match="its splats are"):
        load_splits(config(dataset=folders[0], test=str(other)))


def test_files_of_the_original_are_read_with_the_size_of_their_pictures(tmp_path: Path) -> None:
    folder = str(separate(tmp_path / "npz"))
    chosen = config(dataset=folder, size=[40, 30], layout="rs")
    assert data_meaning(chosen).size == (40, 30)
    assert data_meaning(chosen).sampling == "corner"
    assert data_spec(chosen).sizes == {"train": 10, "val": 1, "test": 1}
    assert load_splits(chosen).train.fields["splats"].shape == (10, 5, 8)
    with pytest.raises(DataError) as caught:
        data_spec(config(dataset=folder))
    assert caught.value.where == "data.size"


def test_a_constant_zero_predictor_costs_four_on_the_training_set() -> None:
    for layout in ("rs", "logcov"):
        chosen = config(layout=layout)
        splats = load_splits(chosen).train.fields["splats"]
        mean, std = load_statistics(chosen, splats)
        columns = ((splats - mean) / std).double().square().mean((0, 1))
        from weft.families.gaussvae.terms.groups import GROUPS

        cost = sum(float(columns[part].mean()) for part in GROUPS[layout].values())
        assert cost == pytest.approx(4.0, abs=1e-3)


def test_z_scores_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "normalization_stats.npz"
    given = np.arange(1, 9, dtype=np.float32)
    write_statistics(path, Statistics(given, given, "logcov"))
    splats = torch.zeros(2, 9, 8)
    mean, std = load_statistics(config(stats=str(path)), splats)
    assert mean.tolist() == std.tolist() == [given.tolist()]
    with pytest.raises(DataError, match="cannot be read"):
        load_statistics(config(stats=str(path), layout="rs"), splats)


def test_what_cannot_be_learnt_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        api.configure("gaussvae/demo", "data.dataset=/nowhere")
        data_spec(config(dataset="/nowhere"))
    with pytest.raises(ConfigError, match="more than the 10 training pictures"):
        data_spec(config(dataset=str(packed(tmp_path / "a"))).model_copy(update={"batch_size": 11}))
