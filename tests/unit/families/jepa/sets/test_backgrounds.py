"""Backgrounds are the bytes that Pillow calls grey, cut from the top left."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from weft.data.images import load_images
from weft.errors import DataError
from weft.families.jepa.sets.backgrounds import grey, load_backgrounds


def pillow(image: torch.Tensor, size: int) -> torch.Tensor:
    picture = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")
    return torch.from_numpy(np.asarray(picture).copy())[:size, :size]


def test_grey_is_pillow_s_luminance_byte_for_byte() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images[0], images[1] = 255, 0
    expected = torch.stack([pillow(image, 28) for image in images])
    assert torch.equal(grey(images, 28), expected)


def test_many_images_are_greyed_in_order() -> None:
    levels = torch.arange(2500) % 256
    images = levels.byte().view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    assert torch.equal(grey(images, 4), levels.byte().view(-1, 1, 1).expand(-1, 4, 4))


def test_grey_images_stay_as_they_are() -> None:
    images = torch.arange(2 * 36, dtype=torch.uint8).view(2, 1, 6, 6)
    assert torch.equal(grey(images, 4), images[:, 0, :4, :4])


def test_any_image_file_can_lie_behind_the_dots(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 30, 31), dtype=np.uint8)
    labels = np.arange(6, dtype=np.int64)
    path = tmp_path / "mine.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:2],
             test_labels=labels[:2])  # fmt: skip
    train = load_backgrounds("train", name=str(path))
    assert torch.equal(train, torch.from_numpy(images[:, :28, :28]))
    assert load_backgrounds("train", name=str(path)) is train
    assert len(load_backgrounds("test", name=str(path))) == 2


def test_pictures_smaller_than_a_frame_are_refused() -> None:
    with pytest.raises(DataError, match="8 x 8 pixels"):
        load_backgrounds("train", name="digits")


def test_cifar10_s_backgrounds_are_its_images_in_grey() -> None:
    root = os.environ.get("WEFT_DATA")
    if not root:
        pytest.skip("WEFT_DATA is not set: no real data sets here")
    images = load_images("cifar10", "test", root=root, download=False).images
    found = load_backgrounds("test", root=root, download=False)
    assert found.shape == (10000, 28, 28)
    for number in range(0, 10000, 1999):
        assert torch.equal(found[number], pillow(images[number], 28))
