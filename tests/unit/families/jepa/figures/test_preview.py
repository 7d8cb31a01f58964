"""The preview shows every frame, with a ring where the dot is and a line to where it goes."""

from __future__ import annotations

import pytest
import torch

from weft.families.jepa.figures.preview import draw_frames, training_episode
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.scene import THREE_DOTS, Scene

RED, GREEN = (255, 80, 80), (80, 220, 80)


def test_rings_and_lines_are_drawn_in_the_frame_s_coordinates() -> None:
    location = torch.tensor([[[10.0, 20.0], [4.0, 5.0]], [[14.0, 20.0], [4.0, 5.0]]])
    action = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
    image = torch.zeros(2, 1, 28, 28)
    image[:, :, 0, 0] = 1.0
    first, last = draw_frames(image, location, action, scale=10)
    # Pixel (10, 20) is centred on (105, 205) and its ring has a radius of two deviations, 26.
    for x, y in ((105 - 26, 205), (105 + 26, 205), (105, 205 - 26), (105, 205), (140, 205)):
        assert first.getpixel((x, y)) == RED, (x, y)
    assert first.getpixel((45, 55 - 26)) == GREEN
    assert first.getpixel((5, 5)) == (255, 255, 255)
    assert first.getpixel((160, 100)) == (0, 0, 0)
    assert last.getpixel((145, 205 - 26)) == RED
    assert last.getpixel((145, 205)) == (0, 0, 0), "the last frame has no action to come"


def test_three_channels_are_shown_as_colours() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[0, 1, 2, 3] = 1.0
    frame = draw_frames(image, torch.zeros(1, 3, 2) + 20, torch.zeros(0, 3, 2), scale=4)[0]
    assert frame.getpixel((3 * 4 + 1, 2 * 4 + 1)) == (0, 255, 0)


@pytest.mark.parametrize(
    "scene", [Scene(num_frames=5, fixed_noise=1.0), Scene(walks=THREE_DOTS, num_frames=5)]
)
def test_an_episode_is_shown_frame_by_frame(scene: Scene) -> None:
    name, caption, frames = training_episode(
        DotsSource.of(scene, batch_size=3, size=3, norm_batches=1)
    )
    assert name == "episode" and caption
    assert len({frame.tobytes() for frame in frames}) == len(frames) == 5
