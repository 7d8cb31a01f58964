"""Pictures mirrored and shifted in one gather."""

from __future__ import annotations

import torch
from torch.nn import functional

from weft.families.gaussvae.sets.moves import moved

IMAGES = torch.randint(0, 256, (6, 3, 5, 7), dtype=torch.uint8)
PLAIN = torch.zeros(6, dtype=torch.bool)
STILL = torch.zeros(6, 2, dtype=torch.int64)


def test_nothing_asked_changes_nothing_and_a_mirror_image_is_a_flip() -> None:
    assert torch.equal(moved(IMAGES, PLAIN, STILL), IMAGES)
    assert torch.equal(moved(IMAGES, ~PLAIN, STILL), IMAGES.flip(-1))


def test_a_shift_is_a_window_of_the_picture_padded_by_reflection() -> None:
    shift = torch.tensor([[0, 0], [2, 0], [0, -2], [-1, 1], [2, 2], [-2, -2]])
    mirrored = torch.tensor([False, True, False, True, False, True])
    found = moved(IMAGES, mirrored, shift)
    for image, flip, (down, right), got in zip(
        IMAGES, mirrored.tolist(), shift.tolist(), found, strict=True
    ):
        picture = image.flip(-1) if flip else image
        padded = functional.pad(picture[None].float(), (2, 2, 2, 2), mode="reflect")[0]
        window = padded[:, 2 - down : 7 - down, 2 - right : 9 - right]
        assert torch.equal(got.float(), window)
