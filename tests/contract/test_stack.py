"""A stacked sweep leaves the runs that separate training would, goes on, and fails by members."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from weft import api
from weft.engine.checkpoint import Store
from weft.engine.together import Together
from weft.errors import UsageError
from weft.families.cet.task import CetTask
from weft.run.directory import RunDirectory
from weft.run.registry import find_runs, open_run
from weft.sweeps.grid import open_plan, outstanding
from weft.sweeps.pool import Outcome
from weft.sweeps.space import parse
from weft.sweeps.stacked import run_stacked

WORDS = (
    "cet/digits", "hidden_dim=6", "batch_size=24", "steps=6", "log.every=2", "eval.every=3",
    "checkpoint.every=3", "log.tensorboard=false", "engine.device=cpu", "engine.threads=1",
    "data.use_val=true", "clip.max_norm=0.3",
)  # fmt: skip
RATES, SEEDS, DELAYS = "optim.lr=0.2,0.05", "seed=0..1", "delay=0,5"
SGD = ("optim.kind=sgd",)


def stacked(folder: Path, *words: str) -> list[Outcome]:
    """What `api.sweep` does, without its page."""
    planned = open_plan(folder, parse((*WORDS, *words)))
    return run_stacked(outstanding(planned, find_runs(folder)))


def saved(run: Path) -> dict[str, Any]:
    return Store(RunDirectory(run).checkpoints).load("last")


def test_a_stacked_sweep_is_the_runs_that_it_stands_for(tmp_path: Path) -> None:
    # SGD: where a gradient is nothing but rounding, Adam makes a whole step of it.
    sweep = api.sweep(*WORDS, RATES, SEEDS, *SGD, directory=tmp_path / "stack", stack=True)
    assert [outcome.state for outcome in sweep.outcomes] == ["done"] * 4
    assert sum(row["n"] for row in sweep.table.rows) == 4
    for outcome in sweep.outcomes[1:3]:
        words = [word for word in outcome.point.overrides if not word.startswith("run.dir=")]
        alone = api.train(*words, f"run.dir={tmp_path / outcome.point.name}", report=False)
        assert alone is not None
        member = open_run(tmp_path / "stack" / outcome.point.name)
        rows, expected = member.history(), alone.history()
        assert [[*row] for row in rows] == [[*row] for row in expected]
        for row, other in zip(rows, expected, strict=True):
            for key in set(row) - {"seconds", "time/step_ms"}:
                assert row[key] == pytest.approx(other[key], rel=1e-3, abs=1e-5), key
        ours, theirs = saved(member.path), saved(alone.path)
        assert [*ours] == [*theirs] and ours["identity"] == theirs["identity"]
        torch.testing.assert_close(ours["model"], theirs["model"], rtol=1e-4, atol=1e-5)
        assert ours["optim"]["param_groups"] == theirs["optim"]["param_groups"]
        assert (member.path / "model.safetensors").is_file()


def test_any_family_stacks_by_vmap(tmp_path: Path, toy: str) -> None:
    words = ("toy", "steps=7", "log.every=1", "log.tensorboard=false", "engine.device=cpu",
             "seed=0..1", "optim.lr=1e-2,3e-2")  # fmt: skip
    outcomes = run_stacked(open_plan(tmp_path / "stack", parse(words)))
    assert [outcome.state for outcome in outcomes] == ["done"] * 4
    for outcome in outcomes:
        kept = [word for word in outcome.point.overrides if not word.startswith("run.dir=")]
        alone = api.train(*kept, f"run.dir={tmp_path / outcome.point.name}", report=False)
        member = open_run(tmp_path / "stack" / outcome.point.name)
        assert alone is not None
        ours, theirs = (
            [row["train/double"] for row in run.history() if "train/double" in row]
            for run in (member, alone)
        )
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_an_interrupted_stack_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    stacked(straight, RATES)
    step, evaluate, begun = Together.__call__, CetTask.evaluate, []

    def interrupted(self: Together, indices: Any, number: int, log: bool) -> Any:
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, indices, number, log)

    def cut_short(self: CetTask, model: Any, source: Any, ctx: Any) -> dict[str, float]:
        begun.append(self)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the evaluation of the second member goes on")
        return evaluate(self, model, source, ctx)

    for owner, name, stops, at, pending in (
        (Together, "__call__", interrupted, 4, {False}),
        (CetTask, "evaluate", cut_short, 6, {False, True}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stops)
            ended = stacked(broken, RATES)
        assert {(outcome.state, outcome.by) for outcome in ended} == {("stopped", "SIGTERM")}
        assert {run.state for run in find_runs(broken)} == {"interrupted"}
        progress = [saved(run.path)["progress"] for run in find_runs(broken)]
        assert {each["step"] for each in progress} == {at}
        assert {each["pending"] for each in progress} == pending
    again = stacked(broken, RATES)
    assert {outcome.state for outcome in again} == {"done"}
    for run in find_runs(broken):
        ours, theirs = saved(run.path), saved(straight / run.name)
        for part in ("model", "optim"):
            torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)
        assert run.metrics == open_run(straight / run.name).metrics
        measured = [row["val/loss"] for row in run.history() if "val/loss" in row]
        straight_rows = open_run(straight / run.name).history()
        assert measured == [row["val/loss"] for row in straight_rows if "val/loss" in row]


def test_a_step_writes_into_what_a_recorded_one_would_find_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, step = [], Together.__call__

    def watched(self: Together, indices: Any, number: int, log: bool) -> Any:
        found = step(self, indices, number, log)
        states = [value for state in self.optimiser.state.values() for value in state.values()]
        stack = [*self.stack.weights.values(), *self.stack.buffers.values()]
        kept = [*stack, *self.gradients, *states, self.bad]
        places.append([tensor.data_ptr() for tensor in kept])
        return found

    monkeypatch.setattr(Together, "__call__", watched)
    stacked(tmp_path, DELAYS, "covariance=0.5")
    assert len(places) == 6
    assert all(each == places[0] for each in places)


def test_members_at_different_steps_go_on_from_the_newest_they_share(tmp_path: Path) -> None:
    stacked(tmp_path, RATES)
    runs = find_runs(tmp_path)
    before = {run.name: saved(run.path)["model"] for run in runs}
    for number, run in enumerate(runs):
        status = run.path / "status.json"
        status.write_text(status.read_text().replace('"finished"', '"running"', 1))
        if number:
            (RunDirectory(run.path).checkpoints / "step_00000006.pt").unlink()
    stacked(tmp_path, RATES)
    for run in find_runs(tmp_path):
        torch.testing.assert_close(saved(run.path)["model"], before[run.name], rtol=0, atol=0)


def test_a_stack_that_grows_keeps_what_is_there(tmp_path: Path) -> None:
    words = (SEEDS,)
    stacked(tmp_path, *words)
    first = {run.name: saved(run.path)["model"] for run in find_runs(tmp_path)}
    interrupted = find_runs(tmp_path)[0]
    status = interrupted.path / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"running"', 1))
    (RunDirectory(interrupted.path).checkpoints / "step_00000006.pt").unlink()
    outcomes = stacked(tmp_path, "seed=0..2")
    assert [outcome.state for outcome in outcomes] == ["done"] * 2
    assert "resumed at step 3 of 6" in (interrupted.path / "log.txt").read_text()
    for name, model in first.items():
        torch.testing.assert_close(saved(tmp_path / name)["model"], model)


def test_a_member_that_diverges_fails_alone(tmp_path: Path) -> None:
    outcomes = stacked(tmp_path, "delay=0,5", "optim.lr=1e30,0.05", *SGD)
    states = {outcome.point.values["optim.lr"]: outcome.state for outcome in outcomes}
    assert states == {"1e30": "failed", "0.05": "done"}
    for run in find_runs(tmp_path):
        assert run.state == ("failed" if "1e30" in run.name else "finished")
        assert (
            not saved(run.path)["model"]["w1.weight"].isnan().any()
            if run.state != "failed"
            else True
        )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("hidden_dim=4,5",), "hidden_dim"),
        (("delay=0,5", "engine.accumulation=2", "streams=2"), r"engine\.accumulation"),
        (("delay=0,5", "schedule.kind=plateau"), "plateau"),
        (("delay=0,5", "eval.patience=2"), r"eval\.patience"),
        (("delay=0,5", "eval.ema=0.9"), r"eval\.ema"),
    ],
)
def test_what_cannot_be_stacked_is_refused_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    kept = [
        word for word in WORDS if word.partition("=")[0] not in {w.partition("=")[0] for w in words}
    ]
    with pytest.raises(UsageError, match=named):
        api.sweep(*kept, *words, directory=tmp_path / "sweep", stack=True)
    assert not (tmp_path / "sweep").exists()


def test_a_family_that_does_not_stack_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="family `jepa` are not stacked"):
        api.sweep("jepa", "seed=0..1", directory=tmp_path / "sweep", stack=True)


@pytest.mark.gpu
def test_a_stack_replayed_from_a_graph_takes_the_steps_of_one_that_is_not(tmp_path: Path) -> None:
    rates = "optim.lr=1e-3,5e-4"
    words = ("steps=12", "log.every=5", DELAYS, rates, "covariance=0.5", "engine.device=cuda")
    kept = [word for word in WORDS if not word.startswith(("steps", "log.every", "engine.device"))]
    for name in ("false", "true"):
        space = parse((*kept, *words, f"engine.graph={name}"))
        outcomes = run_stacked(open_plan(tmp_path / name, space))
        assert {outcome.state for outcome in outcomes} == {"done"}
    for run in find_runs(tmp_path / "true"):
        other = saved(tmp_path / "false" / run.name)
        torch.testing.assert_close(saved(run.path)["model"], other["model"], rtol=1e-3, atol=1e-4)
