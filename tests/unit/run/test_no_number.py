"""Where losses and metrics are no numbers: nothing is best, no rate is cut, no sweep ends."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.toy.task import ToyTask
from weft import api
from weft.config.yaml import read_file
from weft.run.registry import find_runs
from weft.sweeps.point import train_point

QUICK = ("epochs=2", "log.tensorboard=false", "engine.threads=1")


def test_without_any_validation_that_is_a_number_the_last_weights_are_tested(
    toy: str, workspace: Path, without_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = ToyTask.evaluate
    calls: list[int] = []

    def evaluate(self, model, source, ctx):
        calls.append(ctx.step)
        found = measure(self, model, source, ctx)
        # The test set comes last, and once.
        return found if ctx.step == 10 and calls.count(10) == 2 else {"loss": math.nan}

    monkeypatch.setattr(ToyTask, "evaluate", evaluate)
    run = api.train(toy, *QUICK)
    assert run is not None and run.status["best"] is None
    assert run.metrics["val/loss"] is None
    assert math.isfinite(run.metrics["test/loss"])
    assert (
        "no validation gave a number: the last weights count" in (run.path / "log.txt").read_text()
    )


def test_a_skipped_step_does_not_cut_the_rate(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    words = ("engine.nonfinite=skip", "schedule.kind=plateau", "schedule.window=4",
             "schedule.patience=0", "schedule.rtol=0", "log.every=1")  # fmt: skip
    run = api.train(toy, *QUICK, *words, "poison=5", "optim.lr=1e-3")
    assert run is not None
    rates = {row["opt/lr"] for row in run.history() if "opt/lr" in row}
    assert rates == {1e-3}


def test_a_run_says_how_many_updates_were_left_out(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    words = ("engine.nonfinite=skip", "poison=5", "log.every=1", "checkpoint.every=1")
    run = api.train(toy, *QUICK, *words, run={"dir": "run"})
    assert run is not None
    counts = [row.get("opt/skipped", 0) for row in run.history() if "train/loss" in row]
    assert counts[0] == 0 and counts[-1] == 1
    total = run.status["total_steps"]
    said = f"1 of {total} updates were left out, as the loss or a gradient was no number"
    assert run.status["message"] == said
    assert f"warning: {said}" in (run.path / "log.txt").read_text()
    longer = api.resume("run", "epochs=3", report=False)
    assert longer is not None and longer.status["message"].startswith("1 of ")
    clean = api.train(toy, *QUICK, "engine.nonfinite=skip", report=False)
    assert clean is not None and clean.status["message"] == ""


@pytest.mark.slow
def test_a_point_that_diverges_or_is_killed_ends_neither_the_sweep_nor_other_runs(
    workspace: Path,
) -> None:
    folder = Path("grid")

    def kill() -> None:
        victim = folder / "optim.lr=0.01"
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if (victim / "checkpoints").is_dir() and any((victim / "checkpoints").glob("*.pt")):
                os.kill(int(find_runs(victim)[0].status["pid"]), signal.SIGKILL)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    swept = api.sweep(
        "cet/digits", "optim.lr=0.001,1e30,0.01", "steps=400", "hidden_dim=8",
        "checkpoint.every=5 steps",
        "log.tensorboard=false", "engine.device=cpu", "clip.kind=none", directory=folder, workers=2,
    )  # fmt: skip
    thread.join()
    ended = {outcome.point.name: outcome for outcome in swept.outcomes}
    assert [ended[f"optim.lr={lr}"].state for lr in ("0.001", "1e30", "0.01")] == [
        "done", "failed", "failed",
    ]  # fmt: skip
    assert "not a finite number" in ended["optim.lr=1e30"].error
    assert "SIGKILL" in ended["optim.lr=0.01"].error
    page = swept.page.read_text()
    assert all(state in page for state in ("1 finished", "1 failed", "1 crashed"))
    saved = sorted((folder / "optim.lr=0.01" / "checkpoints").glob("*.pt"))
    # The same command goes on with the one that was killed, and keeps what it had saved.
    words = read_file(folder / "sweep.yaml")[0]["words"]
    again = api.sweep(*words, directory=folder, workers=2)
    assert {o.point.name: o.state for o in again.outcomes}["optim.lr=0.01"] == "done"
    assert saved and not list(folder.glob("*.aside*"))


def test_a_point_without_a_status_is_moved_aside_with_its_checkpoints(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    words = (toy, *QUICK, "run.dir=point")
    train_point(words)
    saved = sorted(path.name for path in Path("point/checkpoints").iterdir())
    Path("point/status.json").unlink()
    train_point(words)
    assert sorted(path.name for path in Path("point.aside/checkpoints").iterdir()) == saved
