"""The head: what it makes of raw outputs, entry by entry."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weft.errors import ConfigError
from weft.families.warp.cell.outputs import Head

HEADS: list[dict[str, Any]] = [
    {"channels": 2},
    {"channels": 2, "final": "tanh", "uncertain": True, "std_lower_bound": 0.5},
    {"channels": 2, "final": 0.7, "uncertain": True, "std_tanh": True, "classes": 3},
    {"channels": 2, "final": (2.0, 0.1, 1.5, -0.3), "classes": 2},
    {"channels": 0, "classes": 4},
]


@pytest.mark.parametrize("options", HEADS)
def test_each_output_depends_on_its_own_raw_value_alone(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    head = Head(**options).double()
    raw = torch.randn(head.outputs, dtype=torch.float64)
    # The backward pass of what is fed back takes the head's slopes of all steps at once.
    slopes = torch.autograd.functional.jacobian(head, raw)
    assert torch.equal(slopes, torch.diag(slopes.diagonal()))
    assert slopes.diagonal().count_nonzero() > 0


def test_columns_are_mean_then_deviation_then_logits() -> None:
    head = Head(2, final="tanh", uncertain=True, std_lower_bound=0.5, classes=3)
    raw, theta = torch.randn(4, 6, 7), torch.zeros(4, 9)
    mean, std, logits, weights = head.split(head(raw), theta)
    assert mean is not None and std is not None and logits is not None
    assert torch.equal(mean, torch.tanh(raw[..., :2]))
    assert torch.equal(std, torch.nn.functional.softplus(raw[..., 2:4]).clamp_min(0.5))
    assert torch.equal(logits, raw[..., 4:])
    assert weights is theta


def test_what_is_not_predicted_is_none() -> None:
    plain, classifier = Head(2), Head(0, classes=3)
    assert plain.split(torch.zeros(1, 1, 2), torch.zeros(1))[1:3] == (None, None)
    assert classifier.split(torch.zeros(1, 1, 3), torch.zeros(1))[:2] == (None, None)


def test_deviations_keep_a_gradient_below_zero() -> None:
    head = Head(1, uncertain=True, std_lower_bound=1e-4)
    raw = torch.tensor([[0.0, -5.0]], requires_grad=True)
    head(raw)[:, 1].sum().backward()
    assert raw.grad is not None and raw.grad[0, 1] > 0


def test_a_learnable_tanh_learns_its_four_numbers() -> None:
    head = Head(1, final=[2.0, 0.5, 3.0, 0.1])
    x = torch.tensor([[1.2]])
    assert head(x).item() == pytest.approx(3 * torch.tanh(torch.tensor(0.35)).item() + 0.1)
    head(x).sum().backward()
    assert head.dynamic is not None and head.dynamic.grad is not None
    assert head.dynamic.grad.all()


@pytest.mark.parametrize("final", ["tanhh", 0.0, -1.0, (1.0, 2.0), (0.0, 1.0, 1.0, 1.0)])
def test_a_final_activation_that_makes_no_sense_is_refused(final: Any) -> None:
    with pytest.raises(ConfigError):
        Head(1, final=final)
