"""The moving dots against closed forms, scipy, and the original's literal renderer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import special, stats
from torch import Tensor

from weft.families.jepa.reference import episodes
from weft.families.jepa.sets import render
from weft.families.jepa.sets.backgrounds import grey
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.motion import Motion, Walk, von_mises_quantiles
from weft.families.jepa.sets.scene import ONE_DOT, THREE_DOTS, Norm, Scene

LOW, HIGH = 2.6, 24.4
PEAK = 1 / (2 * math.pi * 1.3**2)
# Far enough from the border (3 std and more) for a dot to lie wholly inside.
INNER = (6.0, 21.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=seeded(seed))


def separable(positions: Tensor, size: int = 28, std: float = 1.3) -> Tensor:
    profile = render.profiles(positions, size, std)
    return render.paint(profile, torch.zeros((), dtype=positions.dtype))


# Rendering


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-7), (torch.float64, 1e-15)])
@pytest.mark.parametrize(("size", "std"), [(28, 1.3), (28, 0.7), (15, 2.0)])
def test_separable_rendering_equals_the_coordinate_grid(
    dtype: torch.dtype, tolerance: float, size: int, std: float
) -> None:
    positions = uniform(3, 5, 2, 2, high=size - 1).to(dtype)
    expected = episodes.render(positions, size, std)
    torch.testing.assert_close(separable(positions, size, std), expected, rtol=0, atol=tolerance)


def test_a_dot_is_brightest_at_its_position_and_x_counts_columns() -> None:
    image = separable(torch.tensor([[[[20.0, 5.0]]]]))[0, 0, 0]
    assert image.argmax() == 5 * 28 + 20
    assert image.max() == pytest.approx(PEAK, rel=1e-6)
    assert pytest.approx(0.0942, abs=5e-5) == PEAK


def test_the_pixels_of_an_interior_dot_sum_to_one() -> None:
    images = separable(uniform(50, 4, 1, 2, low=INNER[0], high=INNER[1]))
    assert (images.sum((-2, -1)) - 1).abs().max() < 2e-3


def test_the_centroid_of_an_interior_dot_is_its_position() -> None:
    positions = uniform(50, 4, 1, 2, low=INNER[0], high=INNER[1])
    images, pixel = separable(positions), torch.arange(28.0)
    mass = images.sum((-2, -1))
    x, y = (images.sum(-2) @ pixel) / mass, (images.sum(-1) @ pixel) / mass
    assert (torch.stack([x, y], dim=-1) - positions).abs().max() < 0.02


# Motion


@pytest.mark.parametrize(("concentration", "tolerance"), [(0.2, 1e-7), (5.0, 2e-4), (50.0, 2e-4)])
def test_angles_lie_at_the_quantiles_of_von_mises(concentration: float, tolerance: float) -> None:
    table = von_mises_quantiles(concentration).double()
    middle = torch.lerp(table[:-1], table[1:], 0.5)
    for angle, offset in ((table, 0.0), (middle, 0.5)):
        chance = (torch.arange(len(angle)) + offset) / (len(table) - 1)
        found = torch.from_numpy(stats.vonmises.cdf(angle.numpy(), concentration))
        torch.testing.assert_close(found, chance.double(), rtol=0, atol=tolerance)


def walk(
    batch_size: int, walks: tuple[Walk, ...] = ONE_DOT, num_frames: int = 17
) -> tuple[Tensor, Tensor]:
    """Positions and actions in pixels."""
    draws = uniform(batch_size, len(walks), Motion.num_draws(num_frames), seed=1)
    return Motion.of(walks, LOW, HIGH)(draws)


def test_start_and_actions_are_the_formula_of_their_draws() -> None:
    draws = uniform(20, 1, Motion.num_draws(3), seed=2)
    positions, actions = Motion.of(ONE_DOT, LOW, HIGH)(draws)
    start, direction, turn, length = draws[:, 0].double().split([2, 1, 2, 2], dim=1)
    turned = torch.from_numpy(stats.vonmises.ppf(turn.numpy(), 0.2))
    angle = 2 * math.pi * direction + turned
    expected = torch.stack([angle.cos(), angle.sin()], dim=-1) * 4 * length[..., None]
    torch.testing.assert_close(actions[:, :, 0].double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(positions[:, 0, 0].double(), 2.6 + 21.8 * start, rtol=0, atol=1e-5)


def test_positions_are_the_literal_transitions_of_the_actions() -> None:
    positions, actions = walk(64)
    expected = episodes.transition(positions[:, 0, 0], actions[:, :, 0], LOW, HIGH)
    assert torch.equal(positions[:, :, 0], expected)
    free = positions[:, :-1] + actions
    assert ((free < LOW) | (free > HIGH)).any(), "no action ran into a wall"


def test_positions_stay_between_the_walls_and_reach_them() -> None:
    positions, _ = walk(2000)
    assert positions.min() == torch.tensor(LOW) and positions.max() == torch.tensor(HIGH)


def test_step_lengths_are_uniform_up_to_four_pixels() -> None:
    _, actions = walk(20000)
    length = actions.norm(dim=-1).flatten()
    assert length.max() <= 4 * (1 + 1e-6)
    assert length.mean() == pytest.approx(2.0, abs=0.02)
    assert actions.square().mean((0, 1, 2)).tolist() == pytest.approx([16 / 6] * 2, abs=0.03)
    sample = (length[::80] / 4).numpy()
    assert stats.kstest(sample, "uniform").pvalue > 1e-3


def test_steps_of_an_episode_share_a_direction_as_loosely_as_von_mises_says() -> None:
    _, actions = walk(20000)
    x, y = actions[:, :, 0].unbind(-1)
    angle = torch.atan2(y, x)
    agreement = torch.cos(angle[:, :, None] - angle[:, None]).sum((1, 2)) - 16
    pull = special.iv(1, 0.2) / special.iv(0, 0.2)
    assert pull == pytest.approx(0.0995, abs=1e-4)
    assert agreement.mean() / (16 * 15) == pytest.approx(pull**2, abs=0.002)
    assert torch.cos(angle).mean() == pytest.approx(0, abs=0.01)


def test_a_concentration_without_bound_keeps_one_direction_and_no_step_keeps_the_place() -> None:
    _, actions = walk(50, (Walk(concentration=math.inf),))
    angle = torch.atan2(actions[..., 1], actions[..., 0])
    turned = torch.cos(angle - angle[:, :1])
    assert turned.min() > 1 - 1e-5
    positions, actions = walk(50, THREE_DOTS)
    assert torch.equal(positions[:, :, 2], positions[:, :1, 2].expand(-1, 17, -1))
    assert actions[:, :, 2].abs().max() == 0
    assert (positions[:, 1:, :2] != positions[:, :-1, :2]).any(-1).float().mean() > 0.99


def test_starts_are_uniform_and_independent_between_dots_and_axes() -> None:
    positions, _ = walk(5000, THREE_DOTS, num_frames=2)
    start = (positions[:, 0].flatten(1) - LOW) / (HIGH - LOW)
    assert all(stats.kstest(column.numpy(), "uniform").pvalue > 1e-3 for column in start.T)
    assert torch.corrcoef(start.T).fill_diagonal_(0).abs().max() < 5 / math.sqrt(5000)


# Units


def test_locations_have_unit_variance_and_errors_return_to_pixels() -> None:
    norm = Norm.unit_variance(Scene(), torch.zeros(1), torch.ones(1))
    positions, actions = walk(20000)
    location = norm.location(positions)
    assert location[:, 0].mean() == pytest.approx(0, abs=0.02)
    assert location[:, 0].var() == pytest.approx(1, abs=0.02)
    assert norm.location_scale**2 == pytest.approx(39.60, abs=0.01)
    torch.testing.assert_close(norm.pixels(location), positions, rtol=1e-6, atol=1e-5)
    guess = location + 0.1 * torch.randn(location.shape, generator=seeded())
    in_pixels = (norm.pixels(guess) - positions).square().sum(-1).mean()
    normalised = (guess - location).square().sum(-1).mean()
    torch.testing.assert_close(normalised * 39.60, in_pixels, rtol=1e-3, atol=0)
    assert norm.action_scale == pytest.approx(1.6408, abs=1e-6)
    assert (actions / norm.action_scale).var() == pytest.approx(1, abs=0.02)


def test_guessing_the_centre_is_off_by_nine_pixels() -> None:
    norm = Norm.unit_variance(Scene(), torch.zeros(1), torch.ones(1))
    error = norm.location(walk(20000)[0]).square().sum(-1).mean((0, 2))
    rmse = (error * 39.60).sqrt()
    assert rmse[0] == pytest.approx(8.9, abs=0.1)
    # Walls gather dots, so that late frames are farther from the centre.
    assert rmse[-1] == pytest.approx(9.67, abs=0.1)


# Whole batches


def pictures(count: int = 40) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=seeded(3))


def decoded(images: Tensor, numbers: Tensor) -> Tensor:
    """Pictures in [0, 1] as Pillow greys them, (*numbers, 28, 28)."""
    chosen = [Image.fromarray(images[i].permute(1, 2, 0).numpy()) for i in numbers.flatten()]
    values = np.stack([np.asarray(image.convert("L")) for image in chosen])
    full = torch.from_numpy(values).view(*numbers.shape, 32, 32)
    return full[..., :28, :28] / 255


SCENES = {
    "clean": Scene(),
    "fixed": Scene(fixed_noise=1.25),
    "changing": Scene(changing_noise=0.5),
    "both, rolling": Scene(fixed_noise=0.75, changing_noise=2.0, speed=0.7),
    "three dots": Scene(walks=THREE_DOTS, fixed_noise=1.0),
    "three dots in one channel": Scene(walks=THREE_DOTS, changing_noise=1.0, merge=True),
}


@pytest.mark.parametrize("structured", [False, True], ids=["uniform", "structured"])
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_a_batch_equals_the_literal_renderer_on_the_same_draws(
    scene: Scene, structured: bool
) -> None:
    scene = replace(scene, unit="batch", num_frames=6)
    images = pictures()
    stock = grey(images, 28) if structured else None
    source = DotsSource.of(scene, stock, batch_size=5, size=5, norm_batches=2)
    indices = source.plan(0, 0)[0]
    batch = source.take(indices, seeded(7))

    again, dots, frames = seeded(7), scene.num_dots, scene.num_frames
    draws = torch.rand(5, dots, Motion.num_draws(frames), generator=again)
    positions, actions = Motion.of(scene.walks, LOW, HIGH)(draws)
    fixed, changing = torch.zeros(5, 1, dots, 28, 28), torch.zeros(5, frames, dots, 28, 28)
    place = 0
    for noise, brightness in ((fixed, scene.fixed_noise), (changing, scene.changing_noise)):
        if brightness == 0:
            continue
        if structured:
            shown = noise.shape[1] * dots
            numbers = indices[:, place : place + shown]
            noise.copy_(decoded(images, numbers).view(noise.shape))
            place += shown
        else:
            noise.copy_(torch.rand(noise.shape, generator=again))
    expected = []
    for k in range(dots):
        clean = episodes.render(positions[:, :, k], 28, 1.3)
        raw = episodes.distract(clean, fixed[:, 0, k], changing[:, :, k], scene)
        expected.append((raw - source.norm.image_centre[k]) / source.norm.image_scale[k])
    image = torch.stack(expected, dim=2)
    if scene.merge:
        image = image.sum(2, keepdim=True)
    torch.testing.assert_close(batch["image"], image, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(batch["action"], actions[:, :, 0] / 1.6408, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(source.norm.pixels(batch["location"]), positions, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["fixed_noise", "changing_noise"])
def test_brightness_is_in_units_of_a_dot_s_peak(kind: str) -> None:
    scene = replace(Scene(num_frames=4), **{kind: 1.5})
    source = DotsSource.of(scene, batch_size=4, size=4, norm_batches=0)
    clean = DotsSource.of(Scene(num_frames=4), batch_size=4, size=4, norm_batches=0)
    indices = source.plan(0, 0)[0]
    added = source.take(indices, seeded())["image"] - clean.take(indices, seeded())["image"]
    assert added.min() >= -1e-7 and added.max() <= 1.5 * PEAK + 1e-7
    assert added.mean() == pytest.approx(0.75 * PEAK, rel=0.03)


def residual(scene: Scene) -> Tensor:
    """The background of a few episodes (B, T, 28, 28): raw frames without their dots."""
    source = DotsSource.of(scene, batch_size=3, size=3, norm_batches=0)
    batch = source.take(source.plan(0, 0)[0], seeded())
    return (batch["image"] - episodes.render(batch["location"], 28, 1.3))[:, :, 0]


def test_a_fixed_background_stays_and_a_changing_one_does_not() -> None:
    staying = residual(Scene(fixed_noise=1.0))
    torch.testing.assert_close(staying, staying[:, :1].expand_as(staying), rtol=0, atol=1e-7)
    assert (staying[0] - staying[1]).abs().mean() > 0.2 * PEAK, "episodes share a background"
    changing = residual(Scene(changing_noise=1.0))
    difference = (changing[:, 1:] - changing[:, :-1]).abs().mean((-2, -1))
    # Of two independent uniform numbers, the distance is 1/3 in the mean.
    assert (difference / PEAK - 1 / 3).abs().max() < 0.05


@pytest.mark.parametrize("speed", [0.4, 1.0, 2.5])
def test_frame_t_of_a_rolling_background_is_moved_by_int_t_speed(speed: float) -> None:
    rolling = residual(Scene(fixed_noise=1.0, speed=speed))
    assert not torch.allclose(rolling[:, 0], rolling[:, 5], atol=0.1 * PEAK)
    for t in range(17):
        expected = torch.roll(rolling[:, 0], int(t * speed), dims=-1)
        torch.testing.assert_close(rolling[:, t], expected, rtol=0, atol=1e-7)


def test_the_literal_generator_and_ours_have_the_same_moments() -> None:
    # Neither draws what the other draws, so that this compares laws, not numbers.
    scene = Scene(fixed_noise=1.0, changing_noise=0.5, unit="batch")
    stock, norm = pictures(200), Norm.raw(1)
    source = DotsSource.of(scene, grey(stock, 28), batch_size=200, size=200, norm_batches=0)
    ours = source.episodes(source.plan(0, 0)[0], seeded())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        literal = episodes.batch(scene, norm, 40, episodes.pictures(stock, 28))
    assert {k: v.shape[1:] for k, v in ours.items()} == {k: v.shape[1:] for k, v in literal.items()}
    for name, tolerance in (("image", 0.02), ("action", 0.1), ("location", 0.1)):
        assert ours[name].std() == pytest.approx(float(literal[name].std()), rel=tolerance), name
    assert ours["image"].mean() == pytest.approx(float(literal["image"].mean()), rel=0.02)
