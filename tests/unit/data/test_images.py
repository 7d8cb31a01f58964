"""Images arrive as tensors in one form whatever the set, and what the header says is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from weft.data import formats
from weft.data.catalog.sets import SETS
from weft.data.images import (
    ImageHeader,
    ImageSet,
    has_labels,
    image_header,
    load_images,
    load_pixels,
)
from weft.errors import DataError


def _agree(name: str, root: Path | None = None) -> None:
    """Header and content of a set say the same."""
    header = image_header(name, root=root, download=False)
    for split, size in header.sizes.items():
        found = load_images(name, split, root=root, download=False)
        assert found.images.shape == (size, *header.shape)
        assert found.images.dtype == torch.uint8
        assert found.labels.dtype == torch.int64
        assert len(found) == size
        if split == "train":
            counts = torch.bincount(found.labels, minlength=header.num_classes)
            assert tuple(counts.tolist()) == header.class_counts


def test_digits_match_their_header() -> None:
    _agree("digits")


def test_the_first_digit_is_the_one_that_scikit_learn_s_documentation_prints() -> None:
    first = load_images("digits", "train")
    assert first.labels[0] == 0
    assert (first.images[0, 0] * (16 / 255)).round().int().tolist() == [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_idx_sets_match_their_headers(name: str, real_data: Path) -> None:
    if not (real_data / name).is_dir():
        pytest.skip(f"the optional group {name} is not in $WEFT_DATA")
    _agree(name, real_data)


def test_real_mnist_has_the_published_statistics(real_data: Path) -> None:
    pixels = load_images("mnist", "train", root=real_data).images
    share = torch.bincount(pixels.flatten(), minlength=256).double() / pixels.numel()
    values = torch.arange(256).double() / 255
    mean = (share * values).sum()
    deviation = (share * (values - mean).square()).sum().sqrt()
    assert mean.item() == pytest.approx(0.1307, abs=5e-5)
    assert deviation.item() == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.slow
def test_real_cifar10_test_set_is_decoded_once_and_then_kept(
    real_data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    first = load_images("cifar10", "test", root=real_data)
    assert first.images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(first.labels).tolist() == [1000] * 10
    [kept] = (cache / "decoded").iterdir()
    assert kept.name == f"test-{SETS['cifar10'].forms[1].splits['test'][0].sha256[:16]}.npz"
    monkeypatch.setitem(formats.READERS, "cifar-parquet", lambda *_: pytest.fail("decoded again"))
    again = load_images("cifar10", "test", root=real_data)
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.labels, first.labels)


@pytest.mark.slow
def test_real_cifar10_matches_its_header(real_data: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    _agree("cifar10", real_data)


def test_a_header_needs_no_file_of_a_set_that_can_be_downloaded() -> None:
    assert image_header("mnist").shape == (1, 28, 28)
    assert image_header("cifar10").sizes == {"train": 50_000, "test": 10_000}


def test_a_header_of_files_that_will_not_come_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs train-images-idx3-ubyte"):
        image_header("mnist", root=tmp_path, download=False)


def _npz(path: Path, **splits: int) -> None:
    arrays = {}
    for split, size in splits.items():
        arrays[f"{split}_images"] = np.full((size, 4, 5, 3), size, np.uint8)
        arrays[f"{split}_labels"] = np.arange(size) % 3
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)


def test_a_path_of_an_npz_file_is_a_set_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    _npz(path, train=7, val=4, test=5)
    header = image_header(str(path))
    assert header == ImageHeader((3, 4, 5), 3, {"train": 7, "val": 4, "test": 5}, (3, 2, 2))
    found = load_images(str(path), "val")
    assert torch.equal(found.images, torch.full((4, 3, 4, 5), 4, dtype=torch.uint8))
    assert torch.equal(found.labels, torch.arange(4) % 3)


def test_pictures_without_labels_are_a_set_for_those_who_want_none(tmp_path: Path) -> None:
    path = tmp_path / "bare.npz"
    pixels = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
    np.savez(path, x_train=pixels, x_test=pixels[:1])
    assert not has_labels(str(path)) and has_labels("digits")
    header = image_header(str(path), labelled=False)
    assert header == ImageHeader((1, 4, 5), 0, {"train": 2, "test": 1}, ())
    found = load_pixels(str(path), "train")
    assert torch.equal(found, torch.from_numpy(pixels)[:, None])
    for wanting in (lambda: image_header(str(path)), lambda: load_images(str(path), "train")):
        with pytest.raises(DataError, match="`train_labels`"):
            wanting()
    assert torch.equal(load_pixels("digits", "test"), load_images("digits", "test").images)


def test_a_relative_npz_path_is_looked_for_below_the_data_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _npz(tmp_path / "shared/mine.npz", train=2)
    monkeypatch.setenv("WEFT_DATA", str(tmp_path / "shared"))
    assert len(load_images("mine.npz", "train")) == 2
    with pytest.raises(DataError, match=r"no file `other\.npz`") as caught:
        load_images("other.npz", "train")
    assert str(tmp_path / "shared/other.npz") in caught.value.hint


def test_an_npz_file_without_training_images_is_refused(tmp_path: Path) -> None:
    _npz(tmp_path / "mine.npz", test=2)
    with pytest.raises(DataError, match="no `train` part"):
        image_header(str(tmp_path / "mine.npz"))


def test_a_set_is_as_long_as_its_labels() -> None:
    assert len(ImageSet(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3))) == 3
