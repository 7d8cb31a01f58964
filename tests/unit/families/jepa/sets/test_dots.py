"""Sources of moving dots: pure functions of seed, indices and generator; units; fixed streams."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from weft.data.random import derive, stream
from weft.errors import ConfigError
from weft.families.jepa.sets import dots as dots_module
from weft.families.jepa.sets.dots import DotsSource, MovingDots
from weft.families.jepa.sets.scene import THREE_DOTS, Scene

KINDS = {
    "clean": Scene(num_frames=4),
    "fixed": Scene(num_frames=4, fixed_noise=1.0),
    "changing": Scene(num_frames=4, changing_noise=1.0),
    "both": Scene(num_frames=4, fixed_noise=1.0, changing_noise=0.5, speed=1.0),
    "three dots": Scene(walks=THREE_DOTS, num_frames=4, fixed_noise=1.0),
    "merged": Scene(walks=THREE_DOTS, num_frames=4, fixed_noise=1.0, merge=True),
}
kinds = pytest.mark.parametrize("scene", KINDS.values(), ids=KINDS)


def pictures(count: int = 23) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)


def source(scene: Scene, backgrounds: Tensor | None = None, **options: int) -> DotsSource:
    sizes = {"batch_size": 4, "size": 10, "norm_batches": 2} | options
    return DotsSource.of(scene, backgrounds, **sizes)  # type: ignore[arg-type]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Plans


@pytest.mark.parametrize("backgrounds", [None, pictures()], ids=["uniform", "structured"])
@kinds
def test_a_plan_has_the_epoch_s_whole_batches_and_depends_on_seed_and_epoch_alone(
    scene: Scene, backgrounds: Tensor | None
) -> None:
    dots = source(scene, backgrounds)
    plan = dots.plan(1, 2)
    assert [len(batch) for batch in plan] == [4, 4]
    torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(plan, dots.plan(1, 2), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(plan, dots.plan(1, 3), strict=True))


@pytest.mark.parametrize(
    ("scene", "each"), [("fixed", 1), ("changing", 4), ("both", 5), ("three dots", 3)]
)
def test_no_picture_comes_again_before_all_were_shown(scene: str, each: int) -> None:
    dots = source(KINDS[scene], pictures(23))
    numbers = torch.cat([batch.flatten() for epoch in range(12) for batch in dots.plan(0, epoch)])
    assert dots.plan(0, 0)[0].shape == (4, each)
    passes = numbers.split(23)
    for shown in passes[:-1]:
        assert shown.sort().values.tolist() == list(range(23))
    assert len(passes) > 3 and not torch.equal(passes[0], passes[1])


def test_backgrounds_come_from_the_pictures_that_are_numbered() -> None:
    dots = source(KINDS["both"], pictures(), norm_batches=0)
    first, generator = dots.plan(0, 0)[0], torch.Generator()
    other = first.clone()
    other[2, 0] = (first[2, 0] + 1) % 23
    other[3, 2] = (first[3, 2] + 1) % 23
    a = dots.take(first, generator.manual_seed(0))["image"]
    b = dots.take(other, generator.manual_seed(0))["image"]
    changed = (a != b).flatten(2).any(-1).tolist()
    # Episode 2 has another fixed background, episode 3 another one behind its second frame.
    assert changed == [[False] * 4, [False] * 4, [True] * 4, [False, True, False, False]]


# Batches


@kinds
def test_a_batch_is_a_function_of_indices_and_generator_and_of_nothing_else(scene: Scene) -> None:
    dots = source(scene, pictures())
    indices, before = dots.plan(0, 0)[0], torch.get_rng_state()
    first = dots.take(indices, stream(0, 0, "data"))
    assert torch.equal(before, torch.get_rng_state())
    assert same(first, dots.take(indices, stream(0, 0, "data")))
    assert not torch.equal(first["location"], dots.take(indices, stream(0, 1, "data"))["location"])


@pytest.mark.parametrize("batch_size", [1, 3])
@kinds
def test_batches_have_the_contract_s_shapes(scene: Scene, batch_size: int) -> None:
    dots = source(scene, batch_size=batch_size)
    batch = dots.take(dots.plan(0, 0)[0], stream(0, 0, "data"))
    assert {name: tuple(t.shape) for name, t in batch.items()} == {
        "image": (batch_size, 4, scene.channels, 28, 28),
        "action": (batch_size, 3, 2),
        "location": (batch_size, 4, scene.num_dots, 2),
    }
    assert all(tensor.dtype == torch.float32 for tensor in batch.values())


@pytest.mark.parametrize(
    ("scene", "structured", "backgrounds"),
    [
        ("clean", False, []),
        ("fixed", False, [1]),
        ("changing", False, [4]),
        ("both", False, [1, 4]),
        ("three dots", False, [1]),
        ("both", True, []),
    ],
)
def test_only_noise_that_shows_is_drawn(
    scene: str, structured: bool, backgrounds: list[int]
) -> None:
    dots = source(KINDS[scene], pictures() if structured else None, norm_batches=0)
    used, expected = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    dots.take(dots.plan(0, 0)[0], used)
    torch.rand(4, dots.scene.num_dots, 3 + 2 * 3, generator=expected)
    for frames in backgrounds:
        torch.rand(4, frames, dots.scene.num_dots, 28, 28, generator=expected)
    assert torch.equal(used.get_state(), expected.get_state())


def test_merged_dots_are_the_sum_of_their_channels() -> None:
    apart = source(KINDS["three dots"], pictures())
    merged = source(KINDS["merged"], pictures())
    assert torch.equal(apart.norm.image_scale, merged.norm.image_scale)
    indices = apart.plan(0, 0)[0]
    channels = apart.take(indices, stream(0, 0, "data"))["image"]
    total = merged.take(indices, stream(0, 0, "data"))["image"]
    torch.testing.assert_close(total, channels.sum(2, keepdim=True), rtol=1e-5, atol=1e-5)


def test_the_model_sees_the_first_dot_s_actions() -> None:
    dots = source(KINDS["three dots"])
    indices = dots.plan(0, 0)[0]
    everything = dots.episodes(indices, stream(0, 0, "data"))
    seen = dots.take(indices, stream(0, 0, "data"))
    assert everything["action"].shape == (4, 3, 3, 2)
    assert torch.equal(seen["action"], everything["action"][:, :, 0])
    moved = dots.norm.pixels(seen["location"]).diff(dim=1)[:, :, 0]
    free = (moved - seen["action"] * dots.norm.action_scale).abs().amax(-1) < 1e-4
    assert free.float().mean() > 0.5, "the first dot does not follow its actions"


@kinds
def test_autocast_does_not_round_the_data(scene: Scene) -> None:
    dots = source(scene, pictures())
    indices = dots.plan(0, 0)[0]
    expected = dots.take(indices, stream(0, 0, "data"))
    with torch.autocast("cpu", torch.bfloat16):
        found = dots.take(indices, stream(0, 0, "data"))
    assert same(found, expected)


# The published unit of brightness


def test_the_batch_s_brightest_pixel_is_the_unit_where_asked_for() -> None:
    scene = Scene(walks=THREE_DOTS, num_frames=2, fixed_noise=1.0)
    coupled = source(replace(scene, unit="batch"), batch_size=2, norm_batches=0)
    clean = source(replace(scene, fixed_noise=0.0), batch_size=2, norm_batches=0)
    constant = source(scene, batch_size=2, norm_batches=0)
    indices = coupled.plan(0, 0)[0]
    dots = clean.take(indices, stream(0, 0, "x"))["image"]
    noise = constant.take(indices, stream(0, 0, "x"))["image"] - dots
    found = coupled.take(indices, stream(0, 0, "x"))["image"] - dots
    share = dots.amax((0, 1, 3, 4)) * (2 * torch.pi * 1.3**2)
    assert (share < 1).all()
    torch.testing.assert_close(found, noise * share.view(-1, 1, 1), rtol=1e-4, atol=1e-7)


# Units


@kinds
def test_pixels_have_unit_variance(scene: Scene) -> None:
    apart = replace(scene, merge=False)
    dots = source(apart, pictures(), batch_size=100, size=100, norm_batches=4)
    image = dots.take(dots.plan(9, 0)[0], stream(9, 0, "data"))["image"]
    std, mean = torch.std_mean(image, dim=(0, 1, 3, 4))
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=0.1)
    torch.testing.assert_close(std, torch.ones_like(std), rtol=0, atol=0.1)


def test_units_are_means_and_deviations_of_batches_averaged() -> None:
    scene = KINDS["three dots"]
    raw = source(scene, pictures(), norm_batches=0, seed=8)
    seed = derive(8, "normalisation")
    batches = [
        raw.take(indices, stream(seed, step, "data"))["image"].transpose(0, 2).flatten(1)
        for step, indices in enumerate([*raw.plan(seed, 0), *raw.plan(seed, 1)][:3])
    ]
    norm = source(scene, pictures(), norm_batches=3, seed=8).norm
    mean = sum(batch.mean(1) for batch in batches) / 3
    std = sum(batch.std(1) for batch in batches) / 3
    torch.testing.assert_close(norm.image_centre, mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(norm.image_scale, std, rtol=1e-5, atol=1e-7)


def test_the_mean_pixel_is_that_of_one_dot_and_half_the_noise() -> None:
    norm = source(Scene(fixed_noise=1.5), batch_size=64, size=64, norm_batches=10).norm
    peak = 1 / (2 * torch.pi * 1.3**2)
    # Near the walls a little of the dot, 0.3 % on average, lies outside.
    assert float(norm.image_centre) == pytest.approx(1 / 784 + 0.75 * peak, rel=0.005)


def test_raw_units_are_brightness_and_pixels() -> None:
    dots = source(Scene(num_frames=3), norm_batches=0)
    batch = dots.take(dots.plan(0, 0)[0], stream(0, 0, "data"))
    assert batch["image"].min() >= 0 and batch["image"].max() < 0.0942
    assert batch["location"].min() >= 2.6 and batch["location"].max() <= 24.4
    assert dots.norm.location_scale == 1.0
    assert torch.equal(dots.norm.pixels(batch["location"]), batch["location"])


# The fixed stream of a held-out source


@pytest.mark.parametrize("size", [1, 7, 64, 65, 200])
def test_the_fixed_stream_is_the_same_at_any_batch_size(size: int) -> None:
    dots = source(KINDS["both"], pictures(), batch_size=3, size=140)
    whole = list(replace(dots, batch_size=50).batches(140))
    assert len(whole) == 1 and len(whole[0]["image"]) == len(dots) == 140
    parts = list(dots.batches(size))
    assert [len(part["image"]) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert 1 <= len(parts[-1]["image"]) <= size
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    assert same(joined, whole[0])


def test_the_fixed_stream_depends_on_the_source_s_seed_alone() -> None:
    dots = source(KINDS["fixed"], size=5)
    torch.manual_seed(1)
    first = next(dots.batches(5))
    assert same(first, next(dots.batches(5)))
    other = next(replace(dots, seed=1).batches(5))
    assert not torch.equal(first["location"], other["location"])
    assert first["location"].unique(dim=0).shape[0] == 5, "episodes repeat"


# Moving dots for anyone's model


def test_moving_dots_are_endless_and_start_over_with_each_iteration() -> None:
    dots = MovingDots(KINDS["three dots"], pictures(), batch_size=2, seed=4)
    batches = list(islice(dots, 200))
    assert batches[0]["action"].shape == (2, 3, 3, 2)
    assert not torch.equal(batches[0]["location"], batches[1]["location"])
    assert same(batches[199], list(islice(dots, 200))[199])
    other = next(iter(MovingDots(KINDS["three dots"], pictures(), batch_size=2, seed=5)))
    assert not torch.equal(batches[0]["location"], other["location"])


def test_moving_dots_can_be_had_in_brightness_and_pixels() -> None:
    batch = next(iter(MovingDots(batch_size=2, normalise=False)))
    assert batch["location"].min() >= 2.6 and batch["image"].min() >= 0


# Mistakes


def test_an_epoch_without_a_whole_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="a batch of 11 is more than the 10 episodes"):
        source(Scene(), batch_size=11)


def test_batches_of_no_episode_are_refused() -> None:
    with pytest.raises(ConfigError, match="a batch of 0 episodes"):
        MovingDots(batch_size=0)


def test_backgrounds_of_another_size_are_refused() -> None:
    with pytest.raises(ConfigError) as error:
        source(Scene(size=20), pictures())
    assert error.value.expected == "(N, 20, 20), as large as a frame"


@pytest.mark.gpu
@kinds
def test_the_fixed_stream_is_the_same_on_every_device(scene: Scene) -> None:
    dots = source(scene, pictures())
    there = next(dots.to(torch.device("cuda")).batches(10))
    for name, tensor in next(dots.batches(10)).items():
        assert there[name].is_cuda
        torch.testing.assert_close(there[name].cpu(), tensor, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
def test_batches_are_made_where_the_source_is() -> None:
    dots = source(KINDS["both"], pictures()).to(torch.device("cuda"))
    indices = dots.plan(0, 0)[0].cuda()
    batch = dots.take(indices, stream(0, 0, "data", device="cuda"))
    assert all(tensor.is_cuda for tensor in batch.values())


def test_every_worker_of_a_loader_has_a_stream_of_its_own_and_keeps_it() -> None:
    dots = MovingDots(Scene(num_frames=3), batch_size=2, seed=4)
    once, again = (
        list(islice(DataLoader(dots, batch_size=None, num_workers=2), 4)) for _ in range(2)
    )
    assert all(same(a, b) for a, b in zip(once, again, strict=True))
    alone = list(islice(dots, 4))
    for number, batch in enumerate(once):
        assert not any(same(batch, other) for other in once[:number] + alone)


def test_single_episodes_are_the_batches_taken_apart() -> None:
    one_by_one = DataLoader(MovingDots(Scene(num_frames=3), batch_size=None), batch_size=6)
    whole = next(iter(MovingDots(Scene(num_frames=3), batch_size=64)))
    found = next(iter(one_by_one))
    assert same(found, {name: tensor[:6] for name, tensor in whole.items()})


def test_noise_in_a_word_is_the_scene_s() -> None:
    dots = MovingDots(Scene(num_frames=3), noise="fixed_uniform", level=2.0, batch_size=2)
    assert (dots.source.scene.fixed_noise, dots.source.scene.changing_noise) == (2.0, 0.0)
    assert dots.source.backgrounds is None
    with pytest.raises(ConfigError, match="sideways") as caught:
        MovingDots(noise="sideways")
    assert "changing_structured" in caught.value.expected
    with pytest.raises(ConfigError, match="beside `backgrounds`"):
        MovingDots(noise="fixed_structured", backgrounds=pictures())


def test_structured_noise_in_a_word_brings_its_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def brought(split: str, *, size: int) -> Tensor:
        asked.append(f"{split} {size}")
        return pictures()

    monkeypatch.setattr(dots_module, "load_backgrounds", brought)
    dots = MovingDots(Scene(num_frames=3), noise="changing_structured", batch_size=2)
    assert asked == ["train 28"]
    assert dots.source.backgrounds is not None and dots.source.scene.changing_noise == 1.0
