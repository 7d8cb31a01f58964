"""Every forward model: shapes, gradients, causality, burn-in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weft.errors import ConfigError
from weft.families.jepa.nets.predictor import Predictor, build_predictor
from weft.families.jepa.options.sections import ModelConfig

MAP = (3, 2, 2)
DIM, BATCH, STEPS = 12, 3, 5
OPTIONS: dict[str, dict[str, Any]] = {
    "gru": {"predictor": "rnn"},
    "gru-layers": {"predictor": "rnn", "rnn_layers": 3},
    "burn-in": {"predictor": "rnn", "rnn_burnin": 3, "rnn_layers": 2},
    "reading": {"predictor": "rnn_burnin"},
    "mlp": {"predictor": "16-24"},
    "linear": {"predictor": "8"},
    "conv": {"predictor": "conv"},
    "id": {"predictor": "id"},
}
Models = pytest.mark.parametrize("name", OPTIONS)


def _case(name: str) -> tuple[Predictor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    config = ModelConfig(**OPTIONS[name])
    seen = config.rnn_burnin
    start = torch.randn(seen, BATCH, DIM, requires_grad=True)
    action = torch.randn(seen - 1 + STEPS, BATCH, 2, requires_grad=True)
    return build_predictor(config, DIM, MAP), start, action


@Models
def test_every_forward_model_predicts_one_code_an_action_and_learns(name: str) -> None:
    model, start, action = _case(name)
    codes = model(start, action)
    assert codes.shape == (STEPS, BATCH, DIM)
    codes.square().sum().backward()
    assert start.grad is not None and bool(start.grad.any(dim=-1).all())
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    if name != "id":
        assert action.grad is not None and bool(action.grad.any(dim=-1).all())


@Models
def test_an_action_changes_nothing_before_it(name: str) -> None:
    model, start, action = _case(name)
    other = action.detach().clone()
    changed = len(other) - 2
    other[changed] += torch.randn(BATCH, 2)
    before, after = model(start, action), model(start, other)
    unchanged = STEPS - 2
    torch.testing.assert_close(after[:unchanged], before[:unchanged])
    if name != "id":
        assert not torch.allclose(after[unchanged], before[unchanged])


@pytest.mark.parametrize("name", ["gru", "mlp", "linear", "conv", "id"])
def test_predicting_in_two_parts_continues_where_codes_are_the_whole_state(name: str) -> None:
    model, start, action = _case(name)
    first = model(start, action[:2])
    torch.testing.assert_close(model(first[-1:], action[2:]), model(start, action)[2:])


def test_repeating_predicts_the_last_true_code() -> None:
    model, start, action = _case("id")
    torch.testing.assert_close(model(start, action), start[-1].expand(STEPS, -1, -1))


def test_burn_in_reads_every_true_code() -> None:
    model, start, action = _case("burn-in")
    for frame in range(len(start)):
        other = start.detach().clone()
        other[frame] += 1
        assert not torch.allclose(model(other, action), model(start, action))


def test_all_widths_of_an_mlp_are_hidden_ones() -> None:
    model, _, _ = _case("mlp")
    widths = [(p.shape[1], p.shape[0]) for p in model.parameters() if p.dim() == 2]
    assert widths == [(DIM + 2, 16), (16, 24), (24, DIM)]


def test_convolving_codes_that_are_no_maps_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        build_predictor(ModelConfig(predictor="conv"), DIM, None)
    assert error.value.where == "model.predictor=conv"
    assert "canonical" in error.value.expected


def test_a_gru_without_content_asks_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_card() -> bool:
        raise RuntimeError("CUDA error: no CUDA-capable device is detected")

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", no_card)
    model, start, action = _case("gru")
    codes = model.to("meta")(start.to("meta"), action.to("meta"))
    assert codes.shape == (STEPS, BATCH, DIM)
