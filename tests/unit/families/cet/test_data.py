"""Splits, normalisation, and the order in which items arrive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from weft.data.images import ImageSet
from weft.data.source import Splits
from weft.errors import ConfigError, DataError
from weft.families.cet.config import CetData, Config
from weft.families.cet.data import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    class_sizes,
    data_spec,
    load_splits,
    normalisation,
)
from weft.families.cet.sets.stream import Norm, StreamSource, blend_weights

COUNTS = (30, 44, 37)


def config(**values: Any) -> Config:
    data = CetData(**values.pop("data", {}))
    return Config(steps=1, delay=1, data=data, **{"batch_size": 16, **values})


@pytest.fixture
def unbalanced(tmp_path: Path) -> str:
    """An npz file of three classes of unequal size; each image is filled with its own number."""
    labels = np.repeat(np.arange(3), COUNTS)
    rng = np.random.default_rng(0)
    rng.shuffle(labels)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    path = tmp_path / "set.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:7],
             test_labels=labels[:7])  # fmt: skip
    return str(path)


def source(labels: Tensor, **values: Any) -> StreamSource:
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    identity = Norm(torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    return StreamSource(images, labels, identity, int(labels.max()) + 1, **values)


def numbers(images: Tensor) -> Tensor:
    """The number that each image of the fake sets is filled with."""
    return images[..., 0, 0, 0].round().long()


def test_bytes_become_inputs_of_mean_and_deviation_one_half() -> None:
    images = torch.randint(0, 256, (50, 1, 5, 5), dtype=torch.uint8)
    inputs = normalisation(images, "mnist")(images).double()
    assert inputs.mean() == pytest.approx(0.5, abs=1e-6)
    assert inputs.std(unbiased=False) == pytest.approx(0.5, abs=1e-6)


def test_cifar_channels_share_one_standardisation_and_get_their_own_scale() -> None:
    images = torch.randint(0, 256, (50, 3, 5, 5), dtype=torch.uint8)
    inputs = normalisation(images, "cifar10")(images).double()
    standard = (images - images.double().mean()) / images.double().std(unbiased=False)
    for channel in range(3):
        expected = standard[:, channel] * CIFAR10_STD[channel] + CIFAR10_MEAN[channel]
        assert torch.allclose(inputs[:, channel], expected, atol=1e-6)


def test_the_test_set_takes_the_training_sets_statistics() -> None:
    splits = load_splits(config())
    assert splits.test is not None
    assert splits.test.norm is splits.train.norm
    train = torch.cat([b["image"] for b in splits.train.batches(500)])
    assert train.mean() == pytest.approx(0.5, abs=2e-3)  # The balanced part of all images.


@pytest.mark.parametrize("use_val", [False, True])
@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("n_groups", [1, 4])
def test_headers_tell_the_sizes_that_loading_finds(
    unbalanced: str, use_val: bool, balance: bool, n_groups: int
) -> None:
    cfg = config(
        data={"dataset": unbalanced, "use_val": use_val, "balance": balance, "n_groups": n_groups}
    )
    spec, splits = data_spec(cfg), load_splits(cfg)
    sizes = [len(s) if s is not None else 0 for s in (splits.train, splits.val, splits.test)]
    assert sizes == [spec.sizes[name] for name in ("train", "val", "test")]
    assert spec.batches_per_epoch == len(splits.train.plan(0, 0)) > 0
    assert (splits.val is not None) == use_val


@pytest.mark.parametrize(
    ("dataset", "items", "batches"), [("mnist", 54_210, 423), ("cifar10", 50_000, 390)]
)
def test_an_epoch_of_the_papers_sets_has_the_papers_length(
    dataset: str, items: int, batches: int
) -> None:
    spec = data_spec(config(batch_size=128, data={"dataset": dataset}))
    assert spec.sizes["train"] == items and spec.batches_per_epoch == batches
    assert spec.sizes["test"] == 10_000


def test_classes_are_cut_to_the_smallest() -> None:
    assert class_sizes(COUNTS, config()) == ([30, 30, 30], [0, 0, 0])
    assert class_sizes(COUNTS, config(data={"balance": False})) == ([30, 44, 37], [0, 0, 0])
    assert class_sizes((30, 0, 37), config()) == ([30, 0, 30], [0, 0, 0])


def test_a_tenth_of_every_class_is_held_out() -> None:
    assert class_sizes((90, 99), config(data={"use_val": True})) == ([81, 81], [9, 9])


def test_held_out_items_are_a_tenth_of_each_class_and_never_trained_on(unbalanced: str) -> None:
    cfg = config(data={"dataset": unbalanced, "use_val": True})
    splits = load_splits(cfg)
    assert torch.equal(torch.bincount(splits.val.labels), torch.tensor([3, 3, 3]))
    kept, held = (set(numbers(s.images).tolist()) for s in (splits.train, splits.val))
    assert not kept & held and len(kept | held) == 90


def test_what_is_held_out_depends_on_the_seed_alone(unbalanced: str) -> None:
    def held(**values: Any) -> Tensor:
        splits = load_splits(config(data={"dataset": unbalanced, "use_val": True}, **values))
        assert splits.val is not None
        return splits.val.images

    assert torch.equal(held(), held(batch_size=8))
    assert not torch.equal(held(), held(seed=1))


def test_a_batch_larger_than_the_data_is_refused(unbalanced: str) -> None:
    with pytest.raises(ConfigError, match="more than the 90 training items"):
        data_spec(config(batch_size=128, data={"dataset": unbalanced}))


def test_spec_is_what_take_gives() -> None:
    for interp_factor in (1, 2):
        cfg = config(streams=3, data={"interp_factor": interp_factor})
        spec, train = data_spec(cfg), load_splits(cfg).train
        batch = train.take(train.plan(0, 0)[0], torch.Generator())
        example = spec.example("cpu")
        assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
            k: (v.shape, v.dtype) for k, v in example.items()
        }


def test_only_the_cnn_on_cifar10_mirrors_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = torch.arange(30 * 3 * 32 * 32).view(30, 3, 32, 32).byte()
    few = ImageSet(pixels, torch.arange(30) % 10)
    monkeypatch.setattr("weft.families.cet.data.load_images", lambda *args, **kwargs: few)

    def mirrors(arch: str, **data: Any) -> bool:
        splits = load_splits(config(arch=arch, data=data))
        assert splits.test is not None and not splits.test.flip
        return splits.train.flip

    assert mirrors("cnn", dataset="cifar10")
    assert not mirrors("mlp", dataset="cifar10") and not mirrors("cnn", dataset="mnist")
    assert mirrors("mlp", dataset="mnist", flip=True)
    assert not mirrors("cnn", dataset="cifar10", flip=False)


def test_real_mnist_is_read_balanced_and_scaled() -> None:
    if "WEFT_DATA" not in os.environ:
        pytest.skip("needs the MNIST files: set WEFT_DATA")
    splits = load_splits(config(batch_size=128, data={"dataset": "mnist", "download": False}))
    assert torch.bincount(splits.train.labels).tolist() == [5421] * 10
    assert splits.test is not None and len(splits.test) == 10_000
    batch = splits.train.take(splits.train.plan(0, 0)[0], torch.Generator())["image"]
    assert batch.shape == (1, 128, 1, 28, 28)
    assert batch.mean().item() == pytest.approx(0.5, abs=0.05)


def test_an_epoch_shows_every_item_at_most_once_in_a_new_order() -> None:
    train = source(torch.arange(100) % 5, streams=2, length=8)
    first, again, next_epoch = train.plan(3, 0), train.plan(3, 0), train.plan(3, 1)
    assert len(first) == 6 and all(batch.shape == (2, 8) for batch in first)
    seen = torch.stack(list(first)).flatten()
    assert len(seen.unique()) == len(seen)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], next_epoch[0])
    assert not torch.equal(first[0], train.plan(4, 0)[0])


@pytest.mark.parametrize("ordered", [False, True])
def test_items_of_a_class_come_in_runs(ordered: bool) -> None:
    labels = torch.arange(240) % 3
    train = source(labels, streams=2, length=16, n_groups=4, ordered=ordered)
    for batch in train.plan(0, 0):
        runs = labels[batch].view(2, 4, 4)
        assert (runs == runs[..., :1]).all()
        assert len(runs[..., 0].unique()) > 1


def test_ordered_classes_take_turns() -> None:
    labels = torch.randperm(60) % 3
    train = source(labels, streams=1, length=12, n_groups=2, ordered=True)
    shown = labels[torch.stack(list(train.plan(0, 0))).flatten()]
    assert shown.tolist() == [0, 0, 1, 1, 2, 2] * 10


def test_blends_share_each_moment_between_two_neighbours() -> None:
    assert blend_weights(1).tolist() == [1.0]
    assert blend_weights(2).tolist() == pytest.approx([1.0, 0.5])
    for factor in (3, 4, 8):
        weight = blend_weights(factor)
        assert weight[0] == 1 and (weight.diff() < 0).all() and weight[-1] > 0
        # The share of an item x steps before it is the share x steps after it.
        assert torch.allclose(weight[1:], 1 - weight[1:].flip(0), atol=1e-6)


def test_blended_frames_and_their_labels_move_from_item_to_item() -> None:
    train = source(torch.arange(24) % 3, streams=1, length=4, interp_factor=3)
    order = torch.tensor([[3, 10, 8, 1]])
    batch = train.take(order, torch.Generator())
    assert batch["image"].shape == (1, 12, 1, 2, 2) and batch["label"].shape == (1, 12, 3)
    assert torch.equal(numbers(batch["image"])[0, ::3], order[0])
    assert torch.allclose(batch["label"].sum(-1), torch.ones(1, 12))
    weight = blend_weights(3)
    for step in range(3):
        blend = weight[step] * 3 + (1 - weight[step]) * 10
        assert batch["image"][0, step, 0, 0, 0] == pytest.approx(float(blend), rel=1e-5)
    assert (batch["image"][0, 9:] == 1).all()  # The last item is held.


def test_each_item_is_mirrored_on_its_own_by_the_generator() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).expand(400, 1, 1, 2)
    labels = torch.zeros(400, dtype=torch.long)
    norm = Norm(torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    train = StreamSource(images, labels, norm, 1, streams=1, length=400, flip=True)
    everything = torch.arange(400)[None]
    one, again, other = (
        train.take(everything, torch.Generator().manual_seed(seed))["image"] for seed in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    mirrored = (one[0, :, 0, 0, 0] == 255).float().mean()
    assert 0.4 < mirrored < 0.6  # Four standard deviations of a fair coin.
    assert next(train.batches(400))["image"][:, 0, 0, 0].eq(0).all()


def test_evaluation_sees_all_items_once_in_order() -> None:
    labels = torch.arange(23) % 4
    batches = list(source(labels, streams=1, length=8).batches(10))
    assert [len(b["label"]) for b in batches] == [10, 10, 3]
    assert torch.equal(torch.cat([b["label"] for b in batches]), labels)
    assert torch.equal(torch.cat([numbers(b["image"]) for b in batches]), torch.arange(23))


def test_sources_move_between_devices_whole() -> None:
    moved = load_splits(config()).to(torch.device("meta"))
    assert isinstance(moved, Splits)
    assert moved.train.images.device.type == moved.train.norm.scale.device.type == "meta"


@pytest.mark.parametrize(("pixel", "label", "says"), [
    (None, 0, "all training items are of one class"),
    (7, None, "all pixels of the training pictures are the same"),
])  # fmt: skip
def test_data_of_which_nothing_can_be_learnt_are_refused(
    pixel: int | None, label: int | None, says: str, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (60, 8, 8), np.uint8) if pixel is None else np.full(
        (60, 8, 8), pixel, np.uint8
    )  # fmt: skip
    labels = np.arange(60) % 3 if label is None else np.full(60, label)
    file = tmp_path / "own.npz"
    np.savez(file, x_train=images, x_test=images, y_train=labels, y_test=labels)
    asked = config(data={"dataset": str(file)})
    with pytest.raises(DataError, match=says):
        data_spec(asked)
        load_splits(asked)
