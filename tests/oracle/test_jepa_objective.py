"""Every objective against its reference: values, gradients, and whole loss curves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.data.source import Batch
from weft.families.jepa import objective
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec
from weft.families.jepa.model import build_model
from weft.families.jepa.reference import frame_by_frame
from weft.families.jepa.reference.written_out import terms
from weft.families.jepa.terms.registry import TERMS, Setting
from weft.families.jepa.terms.rollout import Rollout

ALL_TERMS = {
    "forward": 0.3, "idm": 2.0, "idm_enc": 1.0, "within_infonce": 1.0, "infonce": 1.0,
    "centred_infonce": 1.0, "var_ratio": 0.3,
    "std": 1.0, "cov": 1.0, "temporal_std": 1.0, "temporal_cov": 1.0, "nt_xent": 1.0,
    "sigreg": 1.0, "sigreg_centred": 1.0, "time_sim": 1.0, "decoding": 1.0,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "vicreg": {"objective": "vicreg"},
    "vicreg-more-codes-than-entries": {"objective": "vicreg", "batch_size": 20},
    "vicreg-all-frames": {"objective": "vicreg", "vicreg": {"skip_first_step_vc": False}},
    "vicreg-projected": {
        "objective": "vicreg",
        "model": {"projector": "24-20"},
        "vicreg": {
            "repr_loss_after_projector": True,
            "encoding_std_coeff": 1.0,
            "encoding_cov_coeff": 1.0,
            "action_coeff": 1.0,
            "decoding_coeff": 1.0,
        },
    },
    "vicreg-layers": {"objective": "vicreg", "model": {"rnn_layers": 2}},
    "vicreg-burn-in": {
        "objective": "vicreg",
        "model": {"rnn_burnin": 3, "frame_difference": True},
        "vicreg": {"action_coeff": 1.0, "decoding_coeff": 1.0},
    },
    "simclr": {"objective": "simclr"},
    "simclr-unit": {"objective": "simclr", "simclr": {"normalize_z": True, "loss_temp": 0.5}},
    "idm": {"objective": "idm"},
    "idm-detached": {"objective": "idm", "idm": {"mode": "detached_forward"}},
    "rssm": {"objective": "rssm", "rssm": {"free_nats": 0.0, "action_coeff": 1.0}},
    "rssm-compat": {"objective": "rssm", "rssm": {"compat": True}},
    "rssm-compat-paying": {"objective": "rssm", "rssm": {"compat": True, "free_nats": 0.0}},
    "supervised": {"objective": "supervised", "dataset_type": "Multiple"},
    "combo": {"objective": "combo"},
    "combo-swapped": {"objective": "combo", "model": {"swap_ground": 0.6, "rnn_burnin": 2}},
    "combo-static-share": {"objective": "combo", "combo": {"static_share": 0.01}},
    "combo-of-all": {
        "objective": "combo",
        "terms": ALL_TERMS,
        "batch_size": 3,
        "n_steps": 4,
    },
}
Cases = pytest.mark.parametrize("case", CASES)


def _config(case: str) -> Config:
    options = {"steps": 1, "batch_size": 5, "n_steps": 5, **CASES[case]}
    model = {"backbone_width_factor": 1, "embedding_size": 12, **options.pop("model", {})}
    return Config(model=model, **options)


def _build(config: Config, dtype: torch.dtype) -> tuple[nn.Module, Batch]:
    spec = data_spec(config)
    torch.manual_seed(0)
    model = build_model(config, spec).to(dtype)
    batch = {
        name: torch.randn(*spec.batch_shape, *field.shape, dtype=dtype)
        for name, field in spec.fields.items()
    }
    if config.model.swap_ground > 0:
        # A ground that stays, without which none is swapped.
        batch["image"] += 2 * torch.randn_like(batch["image"][:, :1])
    return model, batch


def _losses(
    model: nn.Module, batch: Batch, config: Config
) -> list[tuple[Tensor, dict[str, Tensor]]]:
    return [
        form.loss(model, batch, config, torch.Generator().manual_seed(1))
        for form in (objective, frame_by_frame)
    ]


@Cases
def test_fast_objective_equals_reference_in_values_and_gradients(case: str) -> None:
    config = _config(case)
    model, batch = _build(config, torch.float64)
    (fast, fast_terms), (slow, slow_terms) = _losses(model, batch, config)
    # The decoder's resizing matrices are kept in float32.
    tolerance = 1e-6 if "decoder" in dict(model.named_children()) else 1e-10
    torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)
    assert fast_terms.keys() == slow_terms.keys()
    for name, value in fast_terms.items():
        torch.testing.assert_close(value, slow_terms[name], rtol=tolerance, atol=tolerance)
    trained = [p for p in model.parameters() if p.requires_grad]
    gradients = [torch.autograd.grad(loss, trained, allow_unused=True) for loss in (fast, slow)]
    largest = max(g.abs().max().item() for g in gradients[1] if g is not None)
    for (name, _), ours, theirs in zip(model.named_parameters(), *gradients, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=10 * tolerance * largest)


@Cases
def test_fast_objective_equals_reference_in_float32(case: str) -> None:
    config = _config(case)
    model, batch = _build(config, torch.float32)
    (fast, _), (slow, _) = _losses(model, batch, config)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bf16", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", ["vicreg", "simclr", "idm", "rssm-compat", "combo"])
def test_loss_curves_of_fast_form_and_reference_agree(case: str, bf16: bool) -> None:
    """Six steps of Adam on one batch; bf16 computes in less, so that curves part slowly."""
    config = _config(case)
    # In channels-last memory torch's own batch norm is no reference: it has four digits.
    contiguous = config.model.model_copy(update={"channels_last": False})
    plain = config.model_copy(update={"model": contiguous})
    curves = []
    for form, low, options in ((objective, bf16, config), (frame_by_frame, False, plain)):
        model, batch = _build(options, torch.float32)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        curve = []
        for step in range(6):
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                loss, _ = form.loss(model, batch, options, torch.Generator().manual_seed(step))
            loss.backward()
            optimiser.step()
            curve.append(loss.item())
        curves.append(curve)
    assert curves[1][-1] < curves[1][0]
    assert curves[0] == pytest.approx(curves[1], rel=5e-2 if bf16 else 1e-3)


def test_every_term_has_a_reference_and_a_test() -> None:
    config = _config("combo")
    empty = torch.zeros(2, 2, 2)
    at = Setting({"image": empty}, config, torch.Generator())
    assert terms(Rollout(empty, empty, empty, empty), at).keys() == TERMS.keys()
    tested = set().union(*(objective.weights_of(_config(case)) for case in CASES))
    assert tested == TERMS.keys()


def test_terms_are_weighted_and_logged_before_weighting() -> None:
    config = _config("combo")
    model, batch = _build(config, torch.float64)
    loss, scalars = objective.loss(model, batch, config, torch.Generator())
    weights = config.terms.weights()
    assert scalars.keys() == {f"loss_{name}" for name in weights}
    total = sum(weight * scalars[f"loss_{name}"] for name, weight in weights.items())
    torch.testing.assert_close(loss.detach(), total)
    assert not any(value.requires_grad for value in scalars.values())


def test_the_static_share_asks_nothing_until_it_is_passed() -> None:
    config = _config("combo")
    model, batch = _build(config, torch.float64)
    found = []
    for share in (0.0, 0.01, 0.99):
        combo = config.combo.model_copy(update={"static_share": share})
        told = config.model_copy(update={"combo": combo})
        found.append(objective.loss(model, batch, told, torch.Generator())[1]["loss_var_ratio"])
    assert found[0] > 0.01
    torch.testing.assert_close(found[1], found[0] - 0.01)
    assert found[2] == 0


def test_random_trains_nothing_and_gathers_no_statistics() -> None:
    config = _config("combo").model_copy(update={"objective": "random"})
    model, batch = _build(config, torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss, scalars = objective.loss(model, batch, config, torch.Generator())
    loss.backward()
    assert loss.item() == 0.0
    assert scalars == {}
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_detached_forward_model_leaves_the_encoder_to_the_action_head() -> None:
    config = _config("idm-detached")
    model, batch = _build(config, torch.float64)
    rollout = model(batch["image"], batch["action"])
    at = Setting(objective.time_first(batch), config, torch.Generator())
    TERMS["forward_detached"](rollout, at).backward(retain_graph=True)
    assert all(p.grad is None for p in model.get_submodule("encoder").parameters())
    assert all(p.grad is not None for p in model.get_submodule("predictor").parameters())
    model.zero_grad()
    TERMS["idm_enc"](rollout, at).backward()
    assert all(p.grad is not None for p in model.get_submodule("encoder").parameters())
    assert all(p.grad is None for p in model.get_submodule("predictor").parameters())
