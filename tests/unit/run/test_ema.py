"""A running mean of the weights is what a run evaluates, keeps and hands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stops import stop_at
from weft import api
from weft.errors import Interrupted
from weft.run.registry import Run

DECAY = 0.7
WORDS = (f"eval.ema={DECAY}", "log.tensorboard=false", "checkpoint.every=1 steps",
         "checkpoint.keep=99", "steps=6", "eval.every=2 steps")  # fmt: skip


def train(toy: str, *words: str, **values: Any) -> Run:
    run = api.train(toy, *WORDS, *words, report=False, **values)
    assert run is not None
    return run


def saved(run: Run, step: int) -> dict[str, Any]:
    file = run.path / f"checkpoints/step_{step:08d}.pt"
    return dict(torch.load(file, weights_only=True))


def test_the_mean_follows_the_weights_and_does_not_change_how_they_learn(
    toy: str, workspace: Path
) -> None:
    run, plain = train(toy), train(toy, "eval.ema=null", **{"run.name": "plain"})
    mean = saved(run, 1)["trained"]
    for step in range(1, 7):
        state = saved(run, step)
        weights = saved(plain, step)["model"]
        for name, value in state["trained"].items():
            assert torch.equal(value, weights[name])
            mean[name] = DECAY * mean[name] + (1 - DECAY) * value if step > 1 else value
            torch.testing.assert_close(state["model"][name], mean[name])
    assert run.metrics != plain.metrics


def test_the_mean_is_what_is_evaluated_and_exported(toy: str, workspace: Path) -> None:
    run = train(toy)
    best = saved(run, run.status["best"]["step"])["model"]
    for model in (run.load_model(), api.load(run.path / "model.safetensors")):
        assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    assert api.evaluate(run.path) == pytest.approx(
        {name: run.metrics[name] for name in api.evaluate(run.path)}
    )


def test_a_run_with_a_mean_goes_on_bit_for_bit(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(toy)
    stop_at(monkeypatch, 3)
    with pytest.raises(Interrupted):
        train(toy, **{"run.dir": "stopped"})
    resumed = api.resume("stopped", report=False)
    assert resumed is not None and resumed.metrics == straight.metrics
    for part in ("model", "trained"):
        ours, theirs = saved(resumed, 6)[part], saved(straight, 6)[part]
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
