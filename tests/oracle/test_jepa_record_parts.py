"""Encoders, optimiser, schedule and data of jepa against what the original computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.oracle.jepa_records import distance, record
from weft.families.jepa.nets.backbone import Encoder
from weft.families.jepa.nets.decoder import MenetDecoder, PublishedDecoder
from weft.families.jepa.nets.predictor import build_predictor
from weft.families.jepa.optim.lars import Lars
from weft.families.jepa.optim.warmup import PublishedSchedule
from weft.families.jepa.options.sections import ModelConfig, Published
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.scene import THREE_DOTS, Norm, Scene

PLACES = {
    "canonical_64": {"backbone.": ""},
    "lenet5": {"layer1.": "", "layer2.0": "4", "layer2.1": "5", "fc.": "9.", "fc1.": "11."},
    "menet5_c3": {"layer1.": "", "fc.": "11."},
    "mlp_12": {"fc1.": "1.", "fc2.": "3."},
    "pixel": {"enc.": ""},
}
"""Encoder -> beginnings of the original's names and of ours."""


def _place(name: str, arch: str) -> str:
    begin = next(begin for begin in PLACES[arch] if name.startswith(begin))
    return PLACES[arch][begin] + name[len(begin) :]


@pytest.mark.parametrize("arch", PLACES)
def test_an_encoder_is_the_original_s_in_training_and_evaluation(arch: str) -> None:
    held, common = record(f"encoder_{arch}"), record("common")["input/image"]
    image = common[0, :3, None]
    if arch == "menet5_c3":
        image = common[:3, :3, 0].transpose(0, 1)[:, None]
    kind, _, width = arch.partition("_")
    size = {"64": 64, "12": 12, "c3": 8}.get(width, 64)
    config = ModelConfig(arch=kind, embedding_size=size, backbone_width_factor=1)
    encoder = Encoder(config, image.shape[2], 28).double()
    state = {}
    for name, value in held.group("param"):
        if name == "fc.weight":
            side = {"lenet5": 4, "menet5_c3": 3}[arch]
            value = value.unflatten(1, (-1, side, side)).permute(0, 2, 3, 1).flatten(1)
        state[_place(name, arch)] = value
    assert state.keys() == dict(encoder.net.named_parameters()).keys()
    encoder.net.load_state_dict(state, strict=False)
    codes = encoder(image)[0]
    assert distance(codes, held["expect/codes_train"]) <= 1e-12
    weight = torch.sin(0.37 * torch.arange(codes.numel(), dtype=torch.float64))
    (codes.flatten() * weight).sum().backward()
    first, *_, last = (p for p in encoder.parameters() if p.dim() > 1)
    assert first.grad is not None and last.grad is not None
    assert distance(first.grad, held["grad/first_weight of sum sin(.37 i) y_i"]) <= 1e-10
    for name, value in held.group("buffer"):
        assert distance(encoder.net.get_buffer(_place(name, arch)), value) <= 1e-12
    assert distance(encoder.eval()(image)[0], held["expect/codes_eval"]) <= 1e-12


def test_networks_of_the_published_sizes_have_the_original_s_parameters() -> None:
    def encoder(arch: str, size: int = 512, width: int = 1) -> tuple[int, int]:
        config = ModelConfig(arch=arch, embedding_size=size, backbone_width_factor=width)
        made = Encoder(config, 1, 28)
        return sum(p.numel() for p in made.parameters()), made.dim

    def others(name: str) -> torch.nn.Module:
        if name == "vicreg_decoder":
            return PublishedDecoder(1, 28)
        if name == "rssm_decoder_menet5_w2_512":
            return MenetDecoder(1024, 1, 28, 2)
        config = ModelConfig(predictor=name.removeprefix("predictor_"))
        return build_predictor(config, 512, None)

    counts = {name: tuple(map(int, value)) for name, value in record("counts").group("expect")}
    own = {"predictor_conv", "rssm_decoder_other"}  # Forms of ours for encoders nobody published.
    for name, expected in counts.items():
        kind, *rest = name.split("_")
        if name in own:
            continue
        if expected[1]:
            size, width = int(rest[0]) or 512, int(rest[1][1:]) if rest[1:] else 1
            assert encoder(kind, size, width) == expected, name
        else:
            found = sum(p.numel() for p in others(name).parameters())
            assert found == expected[0], name


def test_three_steps_of_lars_are_the_original_s() -> None:
    held = record("lars")
    parameters = [held[f"input/p{n}"].clone().requires_grad_() for n in range(5)]
    option = held.option
    optimiser = Lars(parameters, option["lr"], option["momentum"], option["weight_decay"],
                     option["eta"])  # fmt: skip
    for step in range(3):
        for number, parameter in enumerate(parameters):
            parameter.grad = held[f"input/g{number}_step{step}"].clone()
        optimiser.step()
        for number, parameter in enumerate(parameters):
            expected = held[f"expect/p{number}_step{step}"]
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("epochs", "batches", "size", "base"),
    [(100, 2, 32, 1.45), (20, 3, 64, 0.2), (11, 4, 128, 0.5), (200, 1, 256, 1.0)],
)
def test_the_published_schedule_is_the_original_s(
    epochs: int, batches: int, size: int, base: float
) -> None:
    expected = record("schedule")[f"expect/epochs{epochs}_batches{batches}_B{size}_base{base}"]
    config = Published(warmup=10 / epochs, start=1 / epochs)
    schedule = PublishedSchedule(config, epochs * batches)
    found = [base * size / 256 * schedule.factor(step) for step in range(len(expected))]
    assert found == pytest.approx(expected.tolist(), rel=1e-12)


def _source(scene: Scene, **options: int) -> DotsSource:
    return DotsSource.of(scene, batch_size=64, size=64, **{"norm_batches": 0} | options)


@pytest.mark.parametrize("std", [1.3, 2.0])
def test_where_dots_go_and_what_they_look_like_is_the_original_s(std: float) -> None:
    held = record("data")
    scene = Scene(std=std, num_frames=5)
    source = _source(scene)
    place = held[f"input/start_{std}"]
    places = [place]
    for action in held[f"input/action_{std}"].unbind(1):
        places.append(source.motion.step(places[-1][:, None], action[:, None])[:, 0])
    positions = torch.stack(places, dim=1)[:, :, None]
    torch.testing.assert_close(positions, held[f"expect/location_{std}"], rtol=0, atol=1e-12)
    stage = source.stage(torch.arange(3)[:, None], torch.Generator().manual_seed(0))
    image = stage.frames(positions[:, :2].float(), stage.ground)
    expected = held[f"expect/image_{std}"].float()
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-7)
    norm = Norm.unit_variance(scene, torch.zeros(1), torch.ones(1))
    normalised = held[f"expect/normalised_location_{std}"]
    torch.testing.assert_close(norm.location(positions), normalised, rtol=0, atol=1e-12)
    assert norm.location_scale**2 == pytest.approx(
        float(held[f"expect/unnormalise_mse_of_1_{std}"])
    )
    assert norm.action_scale == pytest.approx(float(held[f"expect/action_divisor_{std}"]))


def test_fixed_changing_and_rolling_backgrounds_are_laid_under_as_in_the_original(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = record("data")
    scene = Scene(num_frames=4, fixed_noise=0.7, changing_noise=0.4, speed=1.5, unit="batch")
    source = _source(scene)
    place = held["input/start_1.3"][:2]
    places = [place]
    for action in held["input/action_1.3"][:2, :3].unbind(1):
        places.append(source.motion.step(places[-1][:, None], action[:, None])[:, 0])
    positions = torch.stack(places, dim=1)[:, :, None].float()
    noises = iter((held["input/overlay_fixed"][:, None], held["input/overlay_changing"]))

    def walked(*_: object) -> tuple[Tensor, Tensor]:
        return positions, positions[:, 1:]

    monkeypatch.setattr(type(source.motion), "__call__", walked)
    monkeypatch.setattr(DotsSource, "_noise", lambda *_: next(noises).float())
    stage = source.stage(torch.arange(2)[:, None], torch.Generator())
    expected = held["expect/overlaid"].float()
    torch.testing.assert_close(stage.frames(positions, stage.ground), expected, rtol=0, atol=1e-6)


MOMENTS = {
    "clean": Scene(),
    "fixed_uniform_1.25": Scene(fixed_noise=1.25),
    "changing_uniform_2": Scene(changing_noise=2.0),
    "both_uniform_1": Scene(fixed_noise=1.0, changing_noise=1.0),
    "std2": Scene(std=2.0),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_brightness_and_its_spread_are_the_original_s_within_chance(name: str) -> None:
    mean, deviation, *errors = record("data")[f"expect/moments_{name}"].tolist()
    source = _source(replace(MOMENTS[name], unit="batch"))
    found = []
    for number in range(8):
        generator = torch.Generator().manual_seed(number)
        image = source.episodes(source.plan(0, number)[0], generator)["image"]
        found.append((image.mean().item(), image.std().item()))
    for at, expected, error in zip((0, 1), (mean, deviation), errors, strict=True):
        ours = torch.tensor([each[at] for each in found])
        chance = (ours.var() / len(ours) + error**2).sqrt().item()
        assert abs(ours.mean().item() - expected) <= 4 * chance


@pytest.mark.parametrize("merge", [True, False])
def test_three_dots_are_normalised_one_by_one_as_in_the_original(merge: bool) -> None:
    expected = record("data")[f"expect/three_dots_merge{int(merge)}"]
    source = _source(Scene(walks=THREE_DOTS, merge=merge), norm_batches=10)
    generator = torch.Generator().manual_seed(0)
    batch = source.episodes(source.plan(0, 0)[0], generator)
    assert batch["image"].std().item() == pytest.approx(expected[1].item(), rel=0.01)
    norm = source.norm
    assert norm.image_centre.tolist() == pytest.approx(expected[2:5].tolist(), rel=0.005)
    assert norm.image_scale.tolist() == pytest.approx(expected[5:].tolist(), rel=0.005)
