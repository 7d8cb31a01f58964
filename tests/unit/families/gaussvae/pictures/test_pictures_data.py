"""Where arch=image takes its pictures from, and what is held out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from weft import api
from weft.errors import ConfigError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.data import load_splits
from weft.families.gaussvae.pictures import data as pictures_data
from weft.families.gaussvae.pictures.data import load_pictures, picture_spec

ITEMS, TESTED = 40, 6


@pytest.fixture
def images(workspace: Path) -> Tensor:
    """Pictures in `own.npz`, each of one colour of its own; (ITEMS, 3, 8, 8)."""
    values = np.arange(ITEMS, dtype=np.uint8)[:, None, None, None]
    train = np.broadcast_to(values, (ITEMS, 3, 8, 8))
    labels = np.zeros(ITEMS, np.int64)
    np.savez(
        "own.npz",
        train_images=train,
        train_labels=labels,
        test_images=train[:TESTED] + 100,
        test_labels=labels[:TESTED],
    )
    return torch.from_numpy(train.copy())


def config(*words: str) -> Config:
    small = ("picture.components=8", "latent_dim=4", "batch_size=8", "data.held_out=0.25")
    found = api.configure("gaussvae/cifar10", *small, *words).config
    assert isinstance(found, Config)
    return found


def numbers(source: Any) -> list[int]:
    shown: list[int] = source.fields["image"][:, 0, 0, 0].tolist()
    return shown


def test_a_share_of_the_training_pictures_is_held_out_by_the_seed_and_the_test_set_is_whole(
    images: Tensor,
) -> None:
    one = load_pictures(config("data.dataset=own.npz"))
    assert one.val is not None and one.test is not None
    assert len(one.val) == 10
    assert sorted(numbers(one.train) + numbers(one.val)) == list(range(ITEMS))
    assert numbers(one.test) == list(range(100, 100 + TESTED))
    again, other = (load_pictures(config("data.dataset=own.npz", f"seed={s}")) for s in (0, 1))
    assert again.val is not None and other.val is not None
    assert numbers(again.val) == numbers(one.val) != numbers(other.val)


def test_labels_are_not_asked_for(images: Tensor) -> None:
    # Nothing reads them, so that they may be absent or of any kind.
    for labels in ({}, {"train_labels": np.zeros(3), "test_labels": np.array([-1])}):
        np.savez("bare.npz", train_images=images, test_images=images[:TESTED], **labels)
        asked = config("data.dataset=bare.npz")
        one, same = load_pictures(asked), load_pictures(config("data.dataset=own.npz"))
        assert numbers(one.train) == numbers(same.train)
        assert picture_spec(asked) == picture_spec(config("data.dataset=own.npz"))


def test_the_spec_says_what_is_loaded(images: Tensor) -> None:
    for words in (("data.dataset=own.npz",), ("data.dataset=own.npz", "data.items=20")):
        asked = config(*words)
        spec, splits = picture_spec(asked), load_pictures(asked)
        assert splits.val is not None and splits.test is not None
        sizes = {"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)}
        assert spec.sizes == sizes
        assert spec.batches_per_epoch == len(splits.train.plan(0, 0))
        assert spec.fields["image"].shape == splits.train.fields["image"].shape[1:]


def test_splats_without_pictures_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config("data.dataset=drawn", "data.items=40")
    kept = load_pictures(asked).train.fields["image"]

    def bare(config: Config) -> Any:
        splits = load_splits(config)
        for source in (splits.train, splits.val, splits.test):
            assert source is not None
            del source.fields["image"]  # type: ignore[attr-defined]
        return splits

    monkeypatch.setattr(pictures_data, "load_splits", bare)
    rendered = load_pictures(asked).train.fields["image"]
    assert rendered.dtype == torch.uint8 and rendered.shape == kept.shape
    error = (rendered.float() - kept.float()).square().mean() / 255**2
    assert -10 * float(error.log10()) > 25


def test_pictures_without_colour_or_too_few_of_them_are_refused(images: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"have 1 channel"):
        picture_spec(config("data.dataset=digits"))
    with pytest.raises(ConfigError, match="more than the 30 training pictures"):
        picture_spec(config("data.dataset=own.npz", "batch_size=31"))
