"""Objectives against what the original computed: losses, terms, codes, gradients, statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.oracle.jepa_records import Record, batch, build, config_of, distance, record
from weft.families.jepa import objective
from weft.families.jepa.config import Config
from weft.families.jepa.model import JepaModel, Model
from weft.families.jepa.nets.rssm import RssmModel

LOSS = {torch.float64: 1e-10, torch.float32: 1e-6}
GRADIENT = {torch.float64: 1e-10, torch.float32: 1e-5}
# A unit of that decoder stands 4e-7 from its kink, and on the other side of it in float32; that
# forward model has three norms over five rows each.
IN_FLOAT32 = {"vicreg_decoding": 0.05, "vicreg_mlp_predictor": 2e-5}
RECURRENT = {torch.float64: 1e-10, torch.float32: 1e-3}
"""In float32 a unit of its decoder changes sides with the order of a sum, which threads decide:
3.6e-6 with one of them, 3.2e-4 with three."""
Dtypes = pytest.mark.parametrize("dtype", LOSS, ids=("float64", "float32"))

VICREG = (
    "all_steps", "backbone_mlp", "burnin3", "burnin3_projector", "decoding", "idm",
    "mlp_predictor", "projector_after", "projector_before", "published", "random_projector",
    "repeat", "two_layers", "zero_state",
)  # fmt: skip
SIMCLR = ("normalised", "plain", "projector_action", "two_layers")
TERMS = {"encoding_std": "encoding_std", "encoding_cov": "encoding_cov", "std": "std",
         "cov": "cov", "action": "idm", "decoding": "decoding"}  # fmt: skip
"""The record's names of terms -> ours; the error of the forward model has two."""


def _size(name: str) -> tuple[int, int]:
    return (4, 3) if name == "vicreg_decoding" else (6, 5)


def _old(name: str, option: dict[str, Any]) -> dict[str, Any]:
    model_type = {"vicreg": "VICReg", "simclr": "SimCLR"}[name.partition("_")[0]]
    known = {key: value for key, value in option.items() if key not in ("frames", "batch")}
    return {"model_type": model_type, name.partition("_")[0]: known}


def _check_gradients(model: Model, held: Record, tolerance: float) -> None:
    """Every gradient of the record, relative to its own length or a twentieth of the longest."""
    own = dict(model.named_parameters())
    kept = list(held.gradients())
    floor = 0.05 * max(float(value.norm()) for *_, value in kept)
    assert kept
    for name, old, value in kept:
        grad = own[name].grad
        if grad is None:
            grad = torch.zeros_like(own[name])
        found = grad.double().norm() if value.dim() == 0 and own[name].dim() else grad.double()
        away = float((found - value).norm()) / max(floor, float(value.norm()))
        assert away <= tolerance, (old, away)


@Dtypes
@pytest.mark.parametrize("name", [f"vicreg_{n}" for n in VICREG] + [f"simclr_{n}" for n in SIMCLR])
def test_an_objective_under_the_original_s_keys_is_the_original_s(
    name: str, dtype: torch.dtype
) -> None:
    held, (frames, rows) = record(name), _size(name)
    config = config_of(_old(name, held.option), frames, rows)
    model = build(config, held, dtype)
    loss, terms = objective.loss(model, batch(dtype, frames, rows), config, None)
    loss.backward()
    assert distance(loss, held["expect/loss"]) <= LOSS[dtype]
    for theirs, mine in TERMS.items():
        if f"loss_{mine}" in terms and f"expect/{theirs}" in held.arrays:
            found, expected = terms[f"loss_{mine}"].double(), held[f"expect/{theirs}"]
            # A hinge is the small difference of numbers near 1; a covariance is a fourth power.
            tolerance = 2 * LOSS[dtype]
            assert found.item() == pytest.approx(expected.item(), rel=tolerance, abs=tolerance)
    tolerance = IN_FLOAT32.get(name, 0) if dtype == torch.float32 else 0
    _check_gradients(model, held, max(tolerance, GRADIENT[dtype]))
    for buffer, value in held.statistics().items():
        assert distance(model.get_buffer(buffer), value) <= GRADIENT[dtype], buffer


@pytest.mark.parametrize("name", ["published", "burnin3", "mlp_predictor"])
def test_a_rollout_in_evaluation_is_the_original_s(name: str) -> None:
    held = record(f"rollout_eval_{name}")
    config = config_of({"model_type": "VICReg", "vicreg": held.option})
    model = build(config, held, torch.float64).eval()
    for buffer, value in held.statistics().items():
        model.get_buffer(buffer).copy_(value)
    given = batch(torch.float64)
    codes = model.encode(given["image"])
    rollout = model.rollout(codes[: model.burnin], given["action"])
    assert distance(codes, held["expect/codes"]) <= 1e-12
    assert distance(rollout, held["expect/rollout"]) <= 1e-12


def _rssm(min_var: float) -> tuple[Record, Config]:
    held = record(f"rssm_min_var_{min_var}")
    keys = {"min_var": min_var, "arch": "menet5", "embedding_size": 12}
    return held, config_of({"model_type": "RSSM", "rssm": keys})


@Dtypes
@pytest.mark.parametrize("min_var", [0.0, 0.1])
def test_the_recurrent_model_is_the_original_s(
    min_var: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, config = _rssm(min_var)
    model = build(config, held, dtype)
    noise = held["input/noise"].to(dtype)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise)
    given = batch(dtype)
    rollout = model(given["image"], given["action"], None)
    loss, _ = objective.weighted_sum(rollout, objective.time_first(given), config, None)
    loss.backward()
    assert distance(loss, held["expect/loss"]) <= LOSS[dtype]
    assert distance(rollout.pixels[1], held["expect/pixels_frame_1"]) <= GRADIENT[dtype]
    _check_gradients(model, held, RECURRENT[dtype])
    for buffer, value in held.statistics().items():
        assert distance(model.get_buffer(buffer), value) <= GRADIENT[dtype], buffer


@pytest.mark.parametrize("min_var", [0.0, 0.1])
def test_the_recurrent_model_s_rollout_is_the_original_s(
    min_var: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    (held, config), rolled = _rssm(min_var), record(f"rssm_rollout_{min_var}")
    model = build(config, held, torch.float64).eval()
    assert isinstance(model, RssmModel)
    draws = iter(held["input/noise"][0])
    monkeypatch.setattr(torch, "randn_like", lambda _: next(draws))
    actions = batch(torch.float64)["action"]
    found = model.rollout(rolled["expect/e0"], actions)
    expected = rolled["expect/beliefs"]
    assert distance(found[-len(expected) :], expected) <= 1e-12


@Dtypes
def test_supervised_training_is_the_original_s(dtype: torch.dtype) -> None:
    held = record("supervised")
    keys = {k: v for k, v in held.option.items() if k not in ("full_finetune", "optim", "steps")}
    config = config_of(
        {"model_type": "VICReg", "eval_only": True, "probing_cfg": {"full_finetune": True},
         "vicreg": keys}
    )  # fmt: skip
    model, given = build(config, held, dtype), batch(dtype)
    assert isinstance(model, JepaModel)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    loss, _ = objective.loss(model, given, config, None)
    loss.backward()
    optimiser.step()
    assert distance(loss, held["expect/loss"]) <= LOSS[dtype]
    _check_gradients(model, held, GRADIENT[dtype])
    if dtype == torch.float64:  # In float32 Adam's first step turns on the sign of what is ~ 0.
        for name, value in held.group("after"):
            found = model.get_parameter(
                {"backbone.layer1.0.weight": "encoder.net.0.weight",
                 "backbone.fc.bias": "encoder.net.11.bias",
                 "predictor.rnn.weight_hh_l0": "predictor.gru.weight_hh_l0"}.get(name, name)
            )  # fmt: skip
            assert distance(found, value) <= 1e-8, name
        errors = _errors_px2(model(given["image"], given["action"]).location, given["location"])
        assert distance(errors, held["expect/after_one_step_error_px2"]) <= 1e-8


def _errors_px2(read: Tensor | None, location: Tensor) -> Tensor:
    assert read is not None
    normalised = (read - location.transpose(0, 1)).square().sum(-1).mean(1).detach()
    return normalised * ((27 - 4 * 1.3) / 12**0.5) ** 2
