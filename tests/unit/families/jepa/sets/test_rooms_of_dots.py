"""The second world, two rooms with a wall and a door, and shifts of single factors."""

from __future__ import annotations

import pytest
import torch

from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.rooms import HALF_WALL, stopped
from weft.families.jepa.sets.scene import Scene
from weft.families.jepa.sets.shifts import SHIFTS, shifted

ROOMS = Scene(door=6.0)
MIDDLE = 13.5


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((11.0, 10.0), (12.0, 11.0), (12.0, 11.0)),  # before the wall
        ((11.0, 10.0), (14.0, 13.0), (12.5, 13.0)),  # stopped, slides along it
        ((16.0, 10.0), (13.0, 10.0), (14.5, 10.0)),  # from the other room
        ((11.0, 20.0), (16.0, 21.0), (16.0, 21.0)),  # through the door
        ((13.0, 20.0), (13.2, 25.0), (13.2, 23.0)),  # along the doorway
        ((12.5, 10.0), (12.5, 20.0), (12.5, 20.0)),  # along the wall's face
    ],
)
def test_the_wall_stops_a_dot_but_at_the_door(
    before: tuple[float, float], after: tuple[float, float], expected: tuple[float, float]
) -> None:
    found = stopped(torch.tensor(before), torch.tensor(after), torch.tensor(20.0), MIDDLE, 3.0)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_dots_walk_in_two_rooms_and_change_them_through_the_door_alone() -> None:
    source = DotsSource.of(ROOMS, batch_size=512, size=512, norm_batches=1)
    stage = source.stage(source.plan(0, 0)[0], torch.Generator().manual_seed(0))
    assert stage.door is not None
    place = stage.positions[:, :, 0]
    inside = (place[..., 0] - MIDDLE).abs() < HALF_WALL - 1e-4
    from_door = (place[..., 1] - stage.door[:, None]).abs()
    assert from_door[inside].max() <= 3 + 1e-4
    room = place[..., 0] < MIDDLE
    changes = room[:, 1:] != room[:, :-1]
    assert 0 < changes.any(1).float().mean() < 0.5
    assert from_door[:, :-1][changes].max() < 3 + 4


def test_the_wall_is_drawn_and_its_door_is_open() -> None:
    source = DotsSource.of(ROOMS, batch_size=2, size=2, norm_batches=0)
    stage = source.stage(source.plan(0, 0)[0], torch.Generator().manual_seed(0))
    assert stage.door is not None
    image = stage.frame(torch.full((2, 1, 2), 5.0), 0)[0, 0, 0]
    column = image[:, 13]
    open_rows = (torch.arange(28) - stage.door[0]).abs() <= 3
    assert column[open_rows].max() < 1e-3 < 0.09 < column[~open_rows].min()
    assert image[5, 5] == image[:12, :12].max()


def test_a_shift_changes_its_factor_and_nothing_else() -> None:
    source = DotsSource.of(Scene(), batch_size=4, size=4, norm_batches=2)

    def stage(factor: str | None = None, by: float = 1.0) -> tuple[torch.Tensor, ...]:
        there = source if factor is None else shifted(source, factor, by)
        made = there.stage(there.plan(0, 0)[0], torch.Generator().manual_seed(0))
        image = made.frames(made.positions, made.ground)
        return image - made.ground, made.positions, made.actions

    image, positions, actions = stage()
    bright, same, _ = stage("brightness", 2.0)
    torch.testing.assert_close(same, positions)
    torch.testing.assert_close(bright, 2 * image, rtol=1e-4, atol=1e-5)
    large, same, _ = stage("size", 1.5)
    torch.testing.assert_close(same, positions)
    assert large.amax() == pytest.approx(image.amax().item(), rel=0.05)
    assert large.sum() == pytest.approx(1.5**2 * image.sum().item(), rel=0.05)
    _, _, fast = stage("speed", 1.5)
    torch.testing.assert_close(fast, 1.5 * actions)
    assert set(SHIFTS) == {"brightness", "size", "speed"}
