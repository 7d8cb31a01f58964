"""What a model takes from its training data before the first step of a new run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.stops import die_at
from tests.toy.task import ITEMS, ToyTask
from weft import api as weft
from weft.data.source import Splits

QUIET = ("log.tensorboard=false", "steps=6", "checkpoint.every=2 steps", "run.dir=one")


@pytest.fixture
def primed(toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The training items that `prime` saw, one entry a call; it shifts the model by their mean."""
    seen: list[int] = []

    def prime(self: ToyTask, model: nn.Sequential, data: Splits[Any]) -> None:
        assert not torch.is_grad_enabled()
        seen.append(len(data.train))
        model[0].bias += 100 * (1 + data.train.fields["x"].mean().abs())

    monkeypatch.setattr(ToyTask, "prime", prime)
    return seen


def test_a_new_run_is_primed_once_on_its_training_data_and_its_weights_carry_it(
    primed: list[int],
) -> None:
    run = weft.train("toy/small", *QUIET, report=False)
    assert run is not None and primed == [ITEMS]
    assert bool((run.load_model().state_dict()["0.bias"] > 50).all())
    weft.evaluate(run.path)
    assert primed == [ITEMS]


def test_a_run_that_goes_on_is_not_primed_again_and_one_that_begins_again_is(
    primed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    die_at(monkeypatch, 3)
    with pytest.raises(RuntimeError, match="killed"):
        weft.train("toy/small", *QUIET, report=False)
    weft.resume("one", report=False)
    assert primed == [ITEMS]
    die_at(monkeypatch, 1)
    with pytest.raises(RuntimeError, match="killed"):
        weft.train("toy/small", *QUIET, "run.dir=two", report=False)
    weft.resume("two", report=False)
    assert primed == [ITEMS] * 3
