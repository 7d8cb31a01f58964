"""Which weights of a run are its best, and that it is those which are tested and exported."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toy.task import ToyTask
from weft import api
from weft.run.registry import Run

Score = Callable[[float, int], float]
original = ToyTask.evaluate


@pytest.fixture
def train(toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Score], Run]:
    """Trains the toy family, evaluated at steps 4 to 20, on a score of its loss and the step."""

    def trained(score: Score) -> Run:
        def evaluate(self: ToyTask, model: Any, source: Any, ctx: Any) -> dict[str, float]:
            return {"loss": score(original(self, model, source, ctx)["loss"], ctx.step)}

        monkeypatch.setattr(ToyTask, "evaluate", evaluate)
        run = api.train(toy, "log.tensorboard=false", report=False)
        assert run is not None
        return run

    return trained


def best_step(run: Run) -> int:
    return int(run.status["best"]["step"])


def test_of_equal_scores_the_first_stays_the_best(train: Callable[[Score], Run]) -> None:
    assert best_step(train(lambda loss, step: 1.0)) == 4


def test_nan_is_never_the_best(train: Callable[[Score], Run]) -> None:
    assert best_step(train(lambda loss, step: 1.0 if step == 12 else math.nan)) == 12


def test_the_test_set_is_scored_with_the_best_weights_and_they_are_exported(
    train: Callable[[Score], Run],
) -> None:
    # Training makes this score worse, so the best weights are the first that were evaluated.
    run = train(lambda loss, step: -loss)
    assert best_step(run) == 4
    tested = {name: run.load(name).metrics(["test"])["test/loss"] for name in ("best", "last")}
    assert tested["best"] != tested["last"]
    assert run.metrics["test/loss"] == tested["best"]
    best, exported = run.load_model("best"), api.load(run.path / "model.safetensors")
    for ours, kept in zip(exported.parameters(), best.parameters(), strict=True):
        assert torch.equal(ours, kept)
