"""The model's interface: encode, rollout, forward, and the heads an objective asks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weft.data.source import Batch
from weft.families.jepa import objective
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec
from weft.families.jepa.model import JepaModel, build_model
from weft.families.jepa.nets.rssm import RssmModel
from weft.families.jepa.sets.dots import MovingDots
from weft.families.jepa.sets.ground import on_other_ground
from weft.families.jepa.terms.registry import weights_of

BATCH, FRAMES, DIM = 3, 4, 16
OBJECTIVES = ("vicreg", "simclr", "rssm", "idm", "supervised", "random", "combo")


def _case(**options: Any) -> tuple[JepaModel | RssmModel, Batch, Config]:
    model = {"backbone_width_factor": 1, "embedding_size": DIM, **options.pop("model", {})}
    config = Config(steps=1, batch_size=BATCH, n_steps=FRAMES, model=model, **options)
    spec = data_spec(config)
    torch.manual_seed(0)
    built = build_model(config, spec)
    assert isinstance(built, JepaModel | RssmModel)
    return built, {n: torch.randn(BATCH, *f.shape) for n, f in spec.fields.items()}, config


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_gives_the_probe_the_same_interface(name: str) -> None:
    model, batch, _ = _case(objective=name)
    codes = model.encode(batch["image"])
    assert codes.shape == (FRAMES, BATCH, DIM)
    beliefs = model.rollout(codes[0], batch["action"])
    assert beliefs.shape == (FRAMES, BATCH, DIM)
    torch.testing.assert_close(beliefs[0], codes[0], rtol=0, atol=0)
    torch.testing.assert_close(model.eval().rollout(codes[:1], batch["action"])[0], codes[0])
    rollout = model(batch["image"], batch["action"])
    assert rollout.h.shape == (FRAMES, BATCH, DIM)
    assert rollout.e.shape == ((1 if name == "supervised" else FRAMES), BATCH, DIM)


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n != "random"])
def test_every_objective_reaches_every_parameter(name: str) -> None:
    model, batch, config = _case(objective=name, rssm={"free_nats": 0.0})
    loss, _ = objective.loss(model, batch, config, torch.Generator().manual_seed(0))
    loss.backward()
    assert torch.isfinite(loss)
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


ARCHS = ("menet5", "resnet18", "lenet5", "canonical", "mlp", "pixel", "id")
PAIRS = [(arch, predictor) for arch in ARCHS for predictor in ("rnn", "515-16-512", "id")]
PAIRS += [(arch, "conv") for arch in ("canonical", "pixel", "id")]


@pytest.mark.parametrize(("arch", "predictor"), PAIRS)
def test_every_encoder_works_with_every_forward_model(arch: str, predictor: str) -> None:
    config = Config(
        steps=1, batch_size=2, n_steps=2, objective="vicreg",
        model={"arch": arch, "predictor": predictor, "embedding_size": 64},
        vicreg={"decoding_coeff": 1.0, "action_coeff": 1.0},
    )  # fmt: skip
    spec = data_spec(config)
    built = build_model(config, spec)
    batch = {n: torch.randn(2, *f.shape) for n, f in spec.fields.items()}
    loss, _ = objective.loss(built, batch, config, torch.Generator())
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in built.parameters())


def test_rollout_of_the_model_is_that_of_the_probe() -> None:
    model, batch, _ = _case(objective="vicreg")
    model.eval()
    rollout = model(batch["image"], batch["action"])
    probed = model.rollout(model.encode(batch["image"])[0], batch["action"])
    torch.testing.assert_close(rollout.h, probed)


def test_burn_in_leaves_its_frames_out() -> None:
    model, batch, config = _case(objective="vicreg", model={"rnn_burnin": 3})
    assert batch["image"].shape[1] == FRAMES + 2
    model.eval()
    rollout = model(batch["image"], batch["action"])
    codes = model.encode(batch["image"])
    torch.testing.assert_close(rollout.e, codes[2:])
    torch.testing.assert_close(rollout.h, model.rollout(codes[:3], batch["action"]))
    loss, _ = objective.loss(model, batch, config, torch.Generator())
    assert torch.isfinite(loss)


HEADS = ("action_head", "code_head", "decoder", "position_head")


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        ({"objective": "vicreg"}, set()),
        ({"objective": "vicreg", "vicreg": {"action_coeff": 1.0}}, {"action_head"}),
        ({"objective": "simclr", "simclr": {"decoding_coeff": 1.0}}, {"decoder"}),
        ({"objective": "idm"}, {"action_head"}),
        ({"objective": "idm", "idm": {"mode": "detached_forward"}}, {"code_head"}),
        ({"objective": "supervised"}, {"position_head"}),
        ({"objective": "combo"}, {"action_head"}),
        ({"objective": "combo", "terms": {"idm": 0.0, "idm_enc": 1.0}}, {"code_head"}),
        ({"objective": "random"}, set()),
    ],
)
def test_heads_exist_only_where_a_term_needs_them(options: dict[str, Any], heads: set[str]) -> None:
    model, _, _ = _case(**options)
    assert {name for name, _ in model.named_children()} & set(HEADS) == heads


def test_supervised_reads_all_dots_and_sees_the_actions_of_one() -> None:
    model, batch, _ = _case(objective="supervised", dataset_type="Multiple", model={"channels": 3})
    rollout = model(batch["image"], batch["action"])
    assert batch["image"].shape[2] == 3
    assert batch["action"].shape == (BATCH, FRAMES - 1, 2)
    assert rollout.location is not None
    assert rollout.location.shape == (FRAMES, BATCH, 3, 2)


def test_a_random_projector_keeps_its_weights() -> None:
    options = {"projector": "24-20", "random_projector": True}
    model, batch, config = _case(objective="simclr", model=options)
    objective.loss(model, batch, config, torch.Generator())[0].backward()
    projector = model.get_submodule("projector")
    assert all(not p.requires_grad and p.grad is None for p in projector.parameters())
    assert all(p.grad is not None for p in model.get_submodule("encoder").parameters())


def test_projections_are_what_is_compared() -> None:
    model, batch, _ = _case(objective="simclr", model={"projector": "24-20"})
    rollout = model(batch["image"], batch["action"])
    assert rollout.z_e.shape == rollout.z_h.shape == (FRAMES, BATCH, 20)
    assert rollout.e.shape[-1] == DIM


def test_published_idm_is_vicreg_with_nothing_but_an_action_loss() -> None:
    coefficients = {"sim_coeff": 0.0, "std_coeff": 0.0, "cov_coeff": 0.0, "action_coeff": 0.7}
    as_vicreg, batch, first = _case(objective="vicreg", vicreg=coefficients)
    as_idm, _, second = _case(objective="idm", idm={"action_coeff": 0.7})
    losses = [
        objective.loss(model, batch, config, torch.Generator())[0]
        for model, config in ((as_vicreg, first), (as_idm, second))
    ]
    torch.testing.assert_close(*losses, rtol=0, atol=0)
    assert weights_of(first) == weights_of(second) == {"idm": 0.7}


def test_states_of_an_rssm_come_from_the_given_stream() -> None:
    model, batch, config = _case(objective="rssm")
    losses = [
        objective.loss(model, batch, config, torch.Generator().manual_seed(seed))[0].item()
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_parameters_of_the_published_models() -> None:
    counts = {}
    for name in ("vicreg", "idm", "rssm"):
        config = Config(steps=1, objective=name)
        model = build_model(config, data_spec(config))
        counts[name] = sum(p.numel() for p in model.parameters())
    gru = 3 * 512 * (2 + 512) + 6 * 512
    assert counts["vicreg"] == 384_768 + gru
    assert counts["idm"] == counts["vicreg"] + 2 * 1024 + 2
    assert counts["rssm"] == 5_004_064


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_dry_run_builds_every_model_without_memory(name: str) -> None:
    config = Config(steps=1, objective=name)
    with torch.device("meta"):
        model = build_model(config, data_spec(config))
    assert all(p.device.type == "meta" for p in (*model.parameters(), *model.buffers()))


def test_a_first_frame_on_another_ground_keeps_what_moves() -> None:
    ground, frames = torch.randn(4, 1, 1, 5, 5), 8
    image = ground.repeat(1, frames, 1, 1, 1)
    image[:, 0, 0, 2, 2] += 8
    moved = on_other_ground(image, 1, 0.5)
    expected = image[:, :1].clone()
    expected[:2] += ground.roll(1, 0)[:2] - ground[:2]
    torch.testing.assert_close(moved, expected)


@pytest.mark.parametrize(
    ("noise", "swapped"), [("fixed_uniform", True), ("changing_uniform", False)]
)
def test_frames_get_another_ground_only_where_theirs_stays(noise: str, swapped: bool) -> None:
    image = next(iter(MovingDots(noise=noise, level=0.5, batch_size=8)))["image"]
    assert torch.equal(on_other_ground(image, 1, 1.0), image[:, :1]) is not swapped


def test_rollouts_start_from_another_ground_in_training_alone() -> None:
    model, batch, _ = _case(model={"swap_ground": 1.0})
    batch["image"] += 2 * torch.randn_like(batch["image"][:, :1])
    trained = model(batch["image"], batch["action"])
    assert trained.e.shape == trained.h.shape == (FRAMES, BATCH, DIM)
    assert not torch.allclose(trained.h[0], trained.e[0])
    at_rest = model.eval()(batch["image"], batch["action"])
    assert torch.equal(at_rest.h[0], at_rest.e[0])
