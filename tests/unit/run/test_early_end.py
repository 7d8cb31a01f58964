"""A run ends, and its rate falls, by what held-out data say; both resume exactly."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toy.task import ToyTask
from weft import api
from weft.errors import ConfigError, Interrupted
from weft.run.directory import RunDirectory
from weft.run.registry import Run

SHORT = ("log.tensorboard=false", "steps=40", "eval.every=1 steps", "log.every=1")
Score = Callable[[int], float]


class Stopping:
    """A sink that stops the run after its second step."""

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Nothing is open."""


@pytest.fixture
def scored(toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Trains the toy family on a held-out score that is a function of the step."""

    def trained(score: Score, *words: str, **more: Any) -> Run:
        monkeypatch.setattr(
            ToyTask, "evaluate", lambda self, model, source, ctx: {"loss": score(ctx.step)}
        )
        run = api.train(toy, *SHORT, *words, report=False, **more)
        assert run is not None
        return run

    return trained


def test_it_ends_after_as_many_evaluations_as_patience_and_takes_the_best(
    scored: Callable[..., Run],
) -> None:
    run = scored(lambda step: abs(step - 5.0), "eval.patience=3")
    assert run.state == "finished"
    assert (run.status["step"], run.status["best"]["step"]) == (8, 5)
    assert "stopped at step 8" in (run.path / "log.txt").read_text()


def test_without_patience_it_goes_on_to_the_end(scored: Callable[..., Run]) -> None:
    assert scored(lambda step: abs(step - 5.0)).status["step"] == 40


def test_the_rate_falls_by_the_held_out_score(scored: Callable[..., Run]) -> None:
    words = ("schedule.kind=held_out", "schedule.patience=2", "schedule.factor=0.5", "optim.lr=1")
    run = scored(lambda step: 1.0, *words, "steps=6")
    rates = [row["opt/lr"] for row in run.history() if "opt/lr" in row]
    # Seen after each step: best, bad, bad (cut), bad, bad (cut).
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25]


def test_a_resumed_run_ends_and_falls_as_a_straight_one(
    scored: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("eval.patience=5", "schedule.kind=held_out", "schedule.patience=2")
    straight = scored(lambda step: 1.0, *words)
    with pytest.raises(Interrupted):
        scored(lambda step: 1.0, *words, "run.name=again", sinks=[lambda directory: Stopping()])
    resumed = api.resume("runs/toy/again", report=False)
    assert resumed is not None and resumed.status["step"] == straight.status["step"] == 6
    ours, theirs = (run.load_model("last").state_dict() for run in (resumed, straight))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("word", ["eval.patience=3", "schedule.kind=held_out"])
def test_there_is_nothing_to_wait_for_without_validation(
    toy: str, workspace: Path, word: str
) -> None:
    with pytest.raises(ConfigError, match="nothing is held out") as caught:
        api.train(toy, "validate_on=test", word)
    assert caught.value.where == word.partition("=3")[0]


def test_tensorboard_gets_histograms_of_the_weights_as_often_as_asked(
    toy: str, workspace: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = api.train(toy, "steps=8", "log.histograms=4 steps", report=False)
    assert run is not None
    events = EventAccumulator(str(run.path / "logs"), size_guidance={"histograms": 0}).Reload()
    names = [name.replace(".", "/") for name, _ in run.load_model().named_parameters()]
    assert sorted(events.Tags()["histograms"]) == sorted(names)
    assert [event.step for event in events.Histograms(names[0])] == [4, 8]
