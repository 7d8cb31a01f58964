"""A run from start to end on the toy family: files, exact resume, failures that lose nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stops import stop_at
from weft import api as weft
from weft.cli import main
from weft.errors import DeviceError, Interrupted, NonFiniteError, RunError, UsageError
from weft.run.registry import Run

QUIET = ("log.tensorboard=false", "log.every=1")


def run(*words: str, **values: Any) -> Run:
    found = weft.train("toy/small", *QUIET, *words, report=False, **values)
    assert found is not None
    return found


def weights(run: Run) -> list[torch.Tensor]:
    return [p.detach() for p in run.load_model("last").parameters()]


def same(a: Run, b: Run) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def test_a_dry_run_shows_what_the_task_notes(
    toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "a line of 4 parts, 8 points"
    assert weft.dry_run("toy/small")["notes"] == [note]
    assert main(["train", "toy/small", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith(f"\n{note}\n")
    assert main(["train", "toy/small", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [note]


def test_a_run_describes_itself(toy: str, workspace: Path) -> None:
    done = run("run.tags=[first]")
    assert done.path == Path("runs/toy/small")
    assert done.state == "finished"
    names = {p.name for p in done.path.iterdir()}
    assert names >= {
        "config.yaml",
        "resolved.yaml",
        "env.json",
        "metrics.jsonl",
        "status.json",
        "log.txt",
        "model.safetensors",
        "checkpoints",
    }
    assert done.resolved["total_steps"] == 20
    assert done.resolved["parameters"] == sum(p.numel() for p in done.load_model().parameters())
    rows = done.history()
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 21))
    assert [row["step"] for row in rows if "val/loss" in row] == [4, 8, 12, 16, 20]
    assert set(done.metrics) == {"val/loss", "test/loss"}
    assert weft.configure(str(done.path / "config.yaml")).config.plain() == done.config


def test_training_learns_and_a_name_is_never_used_twice(toy: str, workspace: Path) -> None:
    first = run("optim.lr=0.05", epochs=40)
    losses = [row["val/loss"] for row in first.history() if "val/loss" in row]
    assert losses[-1] < 0.2 * losses[0]
    assert run(steps=1).path == Path("runs/toy/small-2")
    with pytest.raises(RunError, match="never overwritten"):
        run(**{"run.dir": "runs/toy/small"})


def test_same_seed_same_numbers_other_seed_others(toy: str, workspace: Path) -> None:
    first, again, other = run(), run(), run(seed=1)
    assert same(first, again)
    assert not same(first, other)
    drop = ("time/step_ms", "seconds")
    strip = [[{k: v for k, v in row.items() if k not in drop} for row in r.history()]
             for r in (first, again)]  # fmt: skip
    assert strip[0] == strip[1]


# Step 7 of 20 lies inside the second epoch of 5 batches; step 5 on its border.
@pytest.mark.parametrize("step", [7, 4])
@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("schedule.kind=plateau", "schedule.patience=0", "schedule.window=2"),
        ("optim.kind=sgd", "optim.momentum=0.9"),
    ],
)
def test_stop_at_k_and_resume_equals_the_straight_run_bit_for_bit(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, step: int, extra: tuple[str, ...]
) -> None:
    options = ("noise=0.1", "dropout=0.2", *extra)
    straight = run(*options)
    stop_at(monkeypatch, step)
    with pytest.raises(Interrupted) as caught:
        run(*options, **{"run.name": "stopped"})
    assert caught.value.exit_code == 143
    stopped = weft.runs()[-1]
    assert stopped.state == "interrupted"
    assert stopped.status["step"] == step + 1
    resumed = weft.resume(stopped.path, report=False)
    assert resumed is not None
    assert resumed.state == "finished"
    assert same(straight, resumed)
    assert resumed.metrics == straight.metrics
    steps = [row["step"] for row in resumed.history() if "train/loss" in row]
    assert steps == list(range(1, 21))


def test_sigint_exits_with_130(toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 2, signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        run()
    assert caught.value.exit_code == 130
    assert "weft resume runs/toy/small" in str(caught.value)


def test_evaluating_and_logging_more_often_changes_no_weight(toy: str, workspace: Path) -> None:
    options = ("noise=0.1", "dropout=0.2")
    assert same(run(*options), run(*options, "eval.every=1 step"))
    assert same(run(*options), run(*options, "log.every=7"))


def test_evaluate_recomputes_the_numbers_the_loop_wrote(toy: str, workspace: Path) -> None:
    done = run()
    assert weft.evaluate(done.path) == done.metrics
    assert done.status["best"] is not None
    rows = {row["step"]: row["val/loss"] for row in done.history() if "val/loss" in row}
    assert done.status["best"]["value"] == min(rows.values())
    assert done.metrics["val/loss"] == min(rows.values())


def test_without_a_validation_split_nothing_is_selected(toy: str, workspace: Path) -> None:
    done = run("validate_on=test")
    assert set(done.metrics) == {"test/loss"}
    assert done.status["best"] is None
    assert not (done.path / "checkpoints" / "best").exists()


def test_accumulation_changes_nothing_but_memory(toy: str, workspace: Path) -> None:
    whole, parts = run(), run("engine.accumulation=4")
    for a, b in zip(weights(whole), weights(parts), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(DeviceError, match="cannot be shared evenly"):
        run("engine.accumulation=3")


def test_bf16_keeps_fp32_master_weights(toy: str, workspace: Path) -> None:
    done = run("engine.precision=bf16")
    assert all(w.dtype == torch.float32 for w in weights(done))
    exact = run()
    assert not same(done, exact)
    for a, b in zip(weights(exact), weights(done), strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=2e-2)  # twenty Adam steps in bf16


def test_a_loss_that_is_no_number_stops_before_the_update(toy: str, workspace: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"step 7: `loss` is not a finite number"):
        run("poison=7", "checkpoint.every=1 step")
    failed = weft.runs()[-1]
    assert failed.state == "failed"
    assert "step 7" in failed.status["message"]
    assert same(failed, run("steps=7", "schedule.kind=constant"))


def test_skipping_leaves_the_weights_alone_and_goes_on(toy: str, workspace: Path) -> None:
    done = run("poison=7", "engine.nonfinite=skip", "checkpoint.every=1 step",
               "checkpoint.keep=20")  # fmt: skip
    assert done.state == "finished"
    before, after = (done.load_model(str(step)) for step in (7, 8))
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(a, b)
    row = next(r for r in done.history() if r["step"] == 8)
    assert row["train/loss"] is None


def test_a_second_writer_is_refused(toy: str, workspace: Path) -> None:
    from weft.run.directory import RunDirectory

    done = run()
    status = json.loads((done.path / "status.json").read_text())
    (done.path / "status.json").write_text(json.dumps({**status, "state": "running"}))
    assert weft.runs()[0].state == "crashed"
    holder = RunDirectory(done.path)
    holder.lock()
    assert weft.runs()[0].state == "running"
    with pytest.raises(RunError, match="another process is writing here"):
        weft.resume(done.path)
    holder.unlock()


def test_a_finished_run_does_not_resume_and_only_free_keys_may_change(
    toy: str, workspace: Path
) -> None:
    done = run()
    with pytest.raises(RunError, match="finished"):
        weft.resume(done.path)
    status = json.loads((done.path / "status.json").read_text())
    (done.path / "status.json").write_text(json.dumps({**status, "state": "failed"}))
    with pytest.raises(UsageError, match="cannot change when a run goes on"):
        weft.resume(done.path, "width=9")
    with pytest.raises(RunError, match="no such run"):
        weft.resume("runs/nothing")


def test_bad_requests_leave_no_directory_behind(toy: str, workspace: Path) -> None:
    for words in (("widht=3",), ("engine.device=cuda:7",), ("engine.device=fpga",)):
        with pytest.raises((UsageError, DeviceError)):
            run(*words)
    assert list(workspace.iterdir()) == []


def test_exported_weights_load_without_the_run(toy: str, workspace: Path) -> None:
    done = run()
    lone = workspace / "lone.safetensors"
    (done.path / "model.safetensors").rename(lone)
    model, whole = weft.load(lone), weft.load(done.path)
    x = torch.randn(4, 3)
    assert torch.equal(model(x), whole(x))


def test_a_missing_log_sink_warns_once_and_the_run_goes_on(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    done = run("log.wandb.mode=offline")
    assert done.state == "finished"
    assert (done.path / "log.txt").read_text().count("warning: a log is off") == 1


def test_tensorboard_holds_the_same_scalars(toy: str, workspace: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = weft.train("toy/small", "log.every=1", report=False)
    assert done is not None
    events = EventAccumulator(str(done.path / "logs")).Reload()
    logged = {e.step: e.value for e in events.Scalars("train/loss")}
    for row in done.history():
        if "train/loss" in row:
            assert logged[row["step"]] == pytest.approx(row["train/loss"], rel=1e-6)


def test_a_truncated_newest_checkpoint_costs_only_the_work_since_the_one_before(
    toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run()
    stop_at(monkeypatch, 11)
    with pytest.raises(Interrupted):
        run(**{"run.dir": "stopped"})
    newest = Path("stopped/checkpoints/step_00000012.pt")
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = weft.resume("stopped", report=False)
    assert resumed is not None
    assert same(straight, resumed)
    log = (resumed.path / "log.txt").read_text()
    assert "checkpoint is damaged: its checksum differs (step_00000012.pt)" in log
    assert "resumed at step 10 of 20" in log
