"""A run that is gone on with is the one it was, and what differs is told."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from tests.toy.task import ToyTask
from weft import api
from weft.atomic import replacing, sweep_halves
from weft.cli import main
from weft.engine.checkpoint import Store
from weft.engine.identity import check, identity
from weft.engine.loop import Trainer
from weft.errors import CheckpointError, Interrupted, RunError, WrongRun
from weft.run.registry import open_run
from weft.stopping import Stopped

QUIET = ("log.tensorboard=false", "log.every=1", "engine.threads=1", "checkpoint.every=3 steps")


class _Died(BaseException):
    """Stands for kill -9 where a process must live on to look at what is left."""


def stopped(*words: str, at: int = 9) -> Path:
    """A run of the toy family that came to an end at step `at` without saving it."""
    row = Trainer._row

    def row_until(self: Trainer, progress: Any, values: Any) -> None:
        row(self, progress, values)
        if progress.step == at:
            raise _Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_row", row_until)
        with pytest.raises(_Died):
            api.train("toy/small", *QUIET, *words, report=False, **{"run.dir": "run"})
    return Path("run")


def edit(run: Path) -> None:
    config = run / "config.yaml"
    text = config.read_text()
    assert "noise: 0.0" in text
    config.write_text(text.replace("noise: 0.0", "noise: 0.25"))


def test_an_edited_config_is_refused_unless_accepted(
    toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stopped()
    edit(run)
    for verb in (["resume", "run", "--quiet"], ["evaluate", "run"], ["sample", "run"]):
        assert main(verb) == 2
        said = capsys.readouterr().err
        assert "config.yaml was edited" in said
        assert "--accept-changes config" in said
    assert main(["evaluate", "run", "--accept-changes", "config"]) == 0
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "accepted: config.yaml was edited since the run saved its last checkpoint: "
        "noise was 0.0, is 0.25"
    ]
    assert api.resume(run, report=False, accept=["config"]) is not None
    # From then on its checkpoints are of the edited config.
    assert api.evaluate(run) == open_run(run).metrics


def test_an_option_that_weft_has_gained_since_is_told_and_no_obstacle() -> None:
    now = identity({"family": "toy", "noise": 0.0, "optim": {"lr": 0.1}}, {})
    saved = now | {"options": {"family": "toy", "optim.lr": 0.1}}
    told: list[str] = []
    check(saved, now, (), told.append)
    assert told == ["noise = 0.0 is an option that this weft has gained since"]
    with pytest.raises(WrongRun, match=r"optim\.lr was 0\.1, is 0\.2"):
        check(saved, now | {"options": now["options"] | {"optim.lr": 0.2}}, (), told.append)
    with pytest.raises(WrongRun, match="noise is gone"):
        check(now, saved, (), told.append)


def test_of_a_checkpoint_that_names_no_options_the_gained_ones_are_told_by_its_config(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped()
    config = Path("run/config.yaml")
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("noise:")))
    whole = Store.load

    def load(store: Store, *given: Any) -> Any:
        return {key: part for key, part in whole(store, *given).items() if key != "identity"}

    monkeypatch.setattr(Store, "load", load)
    assert main(["evaluate", "run"]) == 0
    assert "noise = 0.0 is an option that this weft has gained since" in capsys.readouterr().err


def test_what_can_be_accepted_is_named_when_something_else_is(
    toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", "run", "--accept-changes", "confg"]) == 2
    said = capsys.readouterr().err
    assert "config, data, checkpoints" in said
    assert "did you mean `config`?" in said


def test_another_version_is_told_in_one_line(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped()
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    assert main(["evaluate", "run"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "now 9.9.9" in said[0]


def test_checkpoints_that_are_gone_are_missed(toy: str, workspace: Path) -> None:
    run = stopped(at=4)  # A second after the start: the status must not wait for its heartbeat.
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="had saved step 3, and its checkpoints are gone"):
        api.resume(run, report=False)
    again = api.resume(run, report=False, accept=["checkpoints"])
    straight = api.train("toy/small", *QUIET, report=False)
    assert again is not None and straight is not None
    assert again.metrics == straight.metrics


def test_a_best_checkpoint_that_is_damaged_at_the_end_gives_way_and_that_is_said(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(self: ToyTask, model: Any, source: Any, ctx: Any) -> dict[str, float]:
        return {"loss": -original(self, model, source, ctx)["loss"]}

    original = ToyTask.evaluate
    monkeypatch.setattr(ToyTask, "evaluate", evaluate)  # Training makes this score worse.
    run = stopped(at=19)
    assert Store(run / "checkpoints").best() == 4
    (run / "checkpoints" / "step_00000004.pt").write_bytes(b"dust")
    done = api.resume(run, report=False)
    assert done is not None
    assert done.status["best"] is None
    said = "the best checkpoint, of step 4, cannot be used"
    assert said in (run / "log.txt").read_text()
    with pytest.warns(UserWarning, match=r"step_00000004\.pt: .* taking the newest good one"):
        assert api.evaluate(run) == done.metrics
    exported, last = api.load(run / "model.safetensors"), done.load_model("last")
    for ours, theirs in zip(exported.parameters(), last.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_killed_before_its_first_status_is_begun_again_by_the_same_command(
    toy: str, workspace: Path
) -> None:
    for command in ({"run.dir": "run"}, {}):
        done = api.train("toy/small", *QUIET, "steps=1", report=False, **command)
        assert done is not None
        for name in ("status.json", "model.safetensors", "metrics.jsonl"):
            (done.path / name).unlink()
        with pytest.raises(RunError, match="not empty"):  # It has checkpoints.
            api.train("toy/small", *QUIET, report=False, **{"run.dir": str(done.path)})
        shutil.rmtree(done.path / "checkpoints")
        again = api.train("toy/small", *QUIET, "steps=1", report=False, **command)
        assert again is not None
        assert again.path == done.path
        assert (again.path / "log.txt").read_text().count("started") == 1
    (workspace / "mine").mkdir()
    (workspace / "mine" / "config.yaml").write_text("family: toy\n")
    with pytest.raises(RunError, match="not empty"):
        api.train("toy/small", *QUIET, report=False, **{"run.dir": "mine"})


def test_a_living_writer_keeps_its_half_file_and_a_dead_ones_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / ".a.txt.01234567.tmp"
    dead.touch()
    with replacing(tmp_path / "a.txt") as living:
        assert not dead.exists()
        dead.touch()
        sweep_halves(tmp_path)
        assert living.exists()
        assert not dead.exists()
        living.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_resumed_run_keeps_its_id_at_wandb(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[tuple[str, str]] = []
    fake = ModuleType("wandb")

    def init(**given: Any) -> Any:
        ids.append((given["id"], given["resume"]))
        return SimpleNamespace(log=lambda *_, **__: None, finish=lambda **_: None)

    fake.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run = stopped("log.wandb.mode=offline", at=2)  # Nothing is saved yet.
    api.resume(run, report=False)
    assert len(ids) == 2
    assert ids[0] == ids[1]
    assert ids[0][1] == "allow"


@pytest.fixture
def events(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer

    # Files of one process and second are read in the order of their numbers, as text: 10 before 9.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(100))
    yield lambda run: EventAccumulator(str(run / "logs")).Reload()


@pytest.mark.parametrize("at", [2, 8])
def test_tensorboard_shows_each_step_once_after_a_resume(toy: str, events: Any, at: int) -> None:
    run = stopped("log.tensorboard=true", at=at)
    api.resume(run, report=False)
    steps = [event.step for event in events(run).Scalars("train/loss")]
    assert steps == list(range(1, 21))


def test_rows_are_cut_in_one_step(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(at=8)
    before = (run / "metrics.jsonl").read_bytes()

    def die(self: Path, target: Path) -> Path:
        if target.name == "metrics.jsonl":
            raise _Died
        return rename(self, target)

    rename = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(_Died):
            api.resume(run, report=False)
    assert (run / "metrics.jsonl").read_bytes() == before
    api.resume(run, report=False)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 21))


@pytest.mark.parametrize(("at", "kept"), [(3, None), (6, 4)])
def test_a_checkpoint_that_a_second_signal_ends_is_not_said_to_be_there(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, at: int, kept: int | None
) -> None:
    save = Store.save

    def saved_or_ended(self: Store, state: Any, step: int) -> Path:
        if step == at:
            raise Stopped("SIGTERM")
        return save(self, state, step)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", saved_or_ended)
        with pytest.raises(Interrupted):
            api.train("toy/small", *QUIET, "steps=9", report=False, **{"run.dir": "run"})
    assert open_run("run").status.get("saved") == kept
    resumed = api.resume("run", report=False)
    straight = api.train("toy/small", *QUIET, "steps=9", report=False)
    assert resumed is not None and straight is not None
    assert resumed.metrics == straight.metrics
