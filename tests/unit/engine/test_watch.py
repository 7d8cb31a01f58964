"""Steps that `engine.profile` names are timed operator by operator, and the run is what it was."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from weft import api
from weft.cli import main
from weft.engine.loop import Trainer
from weft.errors import ConfigError, Interrupted
from weft.run.directory import RunDirectory
from weft.run.registry import Run

WORDS = ("toy/small", "log.tensorboard=false", "log.every=1", "steps=12", "dropout=0.2")


class Stopping:
    """A sink that stops the run at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Nothing is open."""


def train(*words: str) -> Run:
    run = api.train(*WORDS, *words, report=False)
    assert run is not None
    return run


def updates(path: Path) -> int:
    """Steps of the optimiser in a trace."""
    events = json.loads((path / "profile.json").read_text())["traceEvents"]
    return sum(str(event.get("name", "")).startswith("Optimizer.step") for event in events)


def test_the_steps_named_are_traced_and_the_run_is_the_same(toy: str, workspace: Path) -> None:
    plain, profiled = train(), train("engine.profile=3:5")
    assert updates(profiled.path) == 3
    table = (profiled.path / "profile.txt").read_text()
    assert "aten::addmm" in table and "Self CPU" in table
    one, other = (run.load_model("last").state_dict() for run in (plain, profiled))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not (plain.path / "profile.json").exists()


@pytest.mark.parametrize(("stop", "before", "after"), [(4, 2, 4), (2, None, 6), (9, 6, 6)])
def test_a_run_that_is_resumed_traces_what_is_left_of_them(
    toy: str, workspace: Path, stop: int, before: int | None, after: int
) -> None:
    with pytest.raises(Interrupted):
        api.train(*WORDS, "engine.profile=3:8", sinks=[lambda _: Stopping(stop)])
    path = Path("runs/toy/small")
    assert (updates(path) if (path / "profile.json").exists() else None) == before
    api.resume(path, report=False)
    assert updates(path) == after


def test_a_finished_span_is_not_traced_again(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = train("engine.profile=3:5").path
    (path / "profile.json").unlink()
    api.resume(path, "steps=14", report=False)
    assert not (path / "profile.json").exists()


def test_a_step_that_fails_ends_the_profiler(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Trainer, "_log", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train("engine.profile=1:5")
    assert updates(train("engine.profile=1:2", "run.name=next").path) == 2


@pytest.mark.parametrize("span", ["10", "20:10", "0:3", "a:b", "1:2:3"])
def test_what_is_no_span_is_refused(toy: str, span: str) -> None:
    with pytest.raises(ConfigError) as caught:
        api.configure("toy/small", f"engine.profile={span}")
    assert "is no span of steps: say `10:20`" in str(caught.value) or "not allowed" in str(
        caught.value
    )


def test_steps_beyond_the_run_are_refused(
    toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *WORDS, "engine.profile=10:13"]) == 2
    assert "expected steps up to 12" in capsys.readouterr().err
    assert not Path("runs").exists()
