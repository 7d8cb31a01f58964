"""What cannot be converted is refused; what acts otherwise than asked is told once."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.errors import UsageError
from weft.families.cet.trace.conversion import convert

ROWS = 5
TRACE = {"delay": 2, "order": 3}


def test_a_model_without_layers_to_convert_is_refused() -> None:
    with pytest.raises(UsageError, match="no layer to convert"):
        convert(nn.Sequential(nn.Flatten(), nn.ReLU()), **TRACE)


def test_a_time_axis_that_is_folded_into_another_is_refused() -> None:
    class Folding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).reshape(-1, 3))

    model = convert(Folding(), **TRACE)
    with pytest.raises(UsageError, match="`last` got 10 rows, and `first` got 5"):
        model(torch.randn(5, 4))
    model.first(torch.randn(5, 4))
    convert(model, **TRACE, per_layer={"last": {"delay": 0}})(torch.randn(5, 4))
    model(torch.randn(8, 4))  # another length of the batch is no mistake


@pytest.mark.parametrize("mistake", ["second call", "second backward"])
def test_a_second_error_for_one_batch_is_refused_when_streams_are_carried(mistake: str) -> None:
    model, x = convert(nn.Linear(4, 4), carry=True, **TRACE), torch.randn(ROWS, 4)
    loss = model(model(x) if mistake == "second call" else x).sum()
    with pytest.raises(UsageError, match="second error for one batch"):
        for _ in range(2):
            loss.backward(retain_graph=True)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_stream_too_short_for_any_error_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    model = convert(nn.Linear(4, 4), delay=5, order=2)
    caplog.set_level(logging.WARNING)
    for rows_ in (6, 5, 4):
        assert (model(torch.randn(rows_, 4)).sum() + 0).backward() is None
    assert len(told(caplog)) == 1 and "5 steps is over before" in told(caplog)[0]


def test_learning_in_eval_mode_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    model, x = convert(nn.Linear(4, 4), **TRACE).eval(), torch.randn(ROWS, 4).requires_grad_()
    torch.autograd.grad(model(x).sum(), x)  # a look at the input's gradient is no learning
    assert told(caplog) == []
    for _ in range(2):
        model(x).sum().backward()
    assert len(told(caplog)) == 1 and "eval mode" in told(caplog)[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gate": "trace"}, "gate `trace` has no effect: no layer"),
        ({"per_layer": {"": {"gate": "both"}}}, "gate `both` has no effect in layer ``"),
        ({"gate": "error"}, None),
        ({}, None),
    ],
)
def test_a_gate_that_was_asked_for_and_has_no_effect_is_told(
    options: dict[str, Any], says: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    convert(nn.Linear(4, 2), **TRACE, **options)
    assert [text.startswith(says or "?") for text in told(caplog)] == [True] * (says is not None)
