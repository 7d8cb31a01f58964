"""A finished run goes on in a new one: bit for bit, with its lineage, and only where it can."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from weft import api
from weft.cli import main
from weft.errors import RunError
from weft.reports.page import write_report
from weft.run.registry import Run, open_run

QUIET = ("log.tensorboard=false", "log.every=1")
WORDS = ("toy/small", *QUIET, "noise=0.3", "dropout=0.2", "eval.every=4 steps")
SHORT = Path("runs/toy/small")
NEW = Path("runs/toy/small-2")


def train(*words: str, **values: Any) -> Run:
    found = api.train(*words, report=False, **values)
    assert found is not None
    return found


@pytest.fixture
def short(toy: str, workspace: Path, without_pictures: None) -> Run:
    """A finished run of eight steps."""
    return train(*WORDS, "steps=8")


def rows(run: Run) -> list[dict[str, Any]]:
    timed = ("seconds", "time/step_ms")
    return [{k: v for k, v in row.items() if k not in timed} for row in run.history()]


def test_it_ends_as_a_straight_run_of_its_length_and_leaves_the_old_one_alone(short: Run) -> None:
    before = {path: path.read_bytes() for path in SHORT.rglob("*") if path.is_file()}
    straight = train(*WORDS, "steps=20", "run.name=straight")
    longer = train(str(SHORT), "steps=20")
    assert longer.path == NEW
    for name in ("last", "best"):
        one, other = (run.load_model(name).state_dict() for run in (straight, longer))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert longer.metrics == straight.metrics
    assert rows(longer) == rows(straight)
    assert longer.config["steps"] == 20
    assert longer.config | {"run": {}} == straight.config | {"run": {}}
    assert {path: path.read_bytes() for path in SHORT.rglob("*") if path.is_file()} == before


def test_the_best_weights_of_the_old_run_are_kept_where_nothing_better_comes(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    words = (*WORDS, "seed=1", "optim.lr=1", "noise=0.5", "checkpoint.keep=1")
    straight = train(*words, "steps=16", "run.name=straight")
    short = train(*words, "steps=12")
    best = short.status["best"]["step"]
    assert best < 12 and straight.status["best"]["step"] == best
    longer = train(str(short.path), "steps=16", "checkpoint.keep=1")
    assert longer.status["best"] == straight.status["best"]
    assert longer.metrics == straight.metrics == api.evaluate(longer.path)


def test_where_it_comes_from_is_recorded_and_shown(
    short: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(SHORT), "steps=12", "-q", "run.note=further"]) == 0
    longer = open_run(NEW)
    lineage = {"run": str(SHORT.absolute()), "step": 8}
    assert longer.resolved["continues"] == lineage
    assert longer.config["run"]["note"] == "further"
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    listed = {row["run"]: row["parents"] for row in json.loads(capsys.readouterr().out)}
    assert listed[str(NEW)] == {"continues": f"{SHORT.absolute()}@8"}
    assert listed[str(SHORT)] == {}
    assert main(["runs", "--columns", "name,continues"]) == 0
    assert "small@8" in capsys.readouterr().out
    said = "continues runs/toy/small from step 8, to 12 steps in all"
    assert said in (NEW / "log.txt").read_text()
    assert f"{SHORT.absolute()}@8" in write_report(longer, ()).read_text()


def test_a_run_is_named_by_its_place_below_runs_where_no_recipe_is_called_so(short: Run) -> None:
    train(*WORDS, "steps=4", "run.name=mine")
    assert train("toy/mine", "steps=5", "run.name=on").resolved["continues"]["step"] == 4
    assert "continues" not in train("toy/small", *QUIET, "steps=2").resolved


def test_an_exact_directory_gets_a_number_and_a_longer_run_can_be_made_longer(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    train(*WORDS, "steps=4", "run.dir=here/a")
    assert train("here/a", "steps=6").path == Path("here/a-2")
    again = train("here/a-2", "steps=8", "run.dir=there")
    assert again.resolved["continues"]["step"] == 6
    assert again.history()[-1]["step"] == 8


def test_killed_before_its_state_is_there_it_is_resumed_from_the_start(short: Run) -> None:
    straight = train(*WORDS, "steps=12", "run.name=straight")
    longer = train(str(SHORT), "steps=12")
    # What a kill before the copy leaves: the record, and nothing that was computed.
    shutil.rmtree(longer.path / "checkpoints")
    status = json.loads((longer.path / "status.json").read_text())
    blank = status | {"state": "interrupted", "step": 0, "saved": None, "best": None}
    (longer.path / "status.json").write_text(json.dumps(blank))
    resumed = api.resume(longer.path, report=False)
    assert resumed is not None
    one, other = (run.load_model("last").state_dict() for run in (straight, resumed))
    assert all(torch.equal(one[key], other[key]) for key in one)


REFUSED = {
    ("steps=8",): "the run has done 8 steps, and 8 are asked for",
    ("steps=3",): "the run has done 8 steps, and 3 are asked for",
    (): "a finished run goes on if it is made longer",
    ("steps=20", "optim.lr=1"): "`optim.lr` cannot change when a run goes on",
    ("steps=20", "seed=3"): "`seed` cannot change when a run goes on",
    ("steps=20", "toy/small"): "is a run, which goes on with its own config",
    ("steps=20", "--dry-run"): "the cost of a longer run is that of its config",
    ("steps=twenty",): "`steps` = twenty is not allowed",
}


def test_what_cannot_be_is_refused_before_anything_is_written(
    short: Run, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(workspace.rglob("*"))
    for words, problem in REFUSED.items():
        assert main(["train", str(SHORT), *words]) == 2, words
        assert problem in capsys.readouterr().err
    assert sorted(workspace.rglob("*")) == before


def test_an_unfinished_run_is_sent_to_resume(
    short: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    status = json.loads((SHORT / "status.json").read_text()) | {"state": "interrupted"}
    (SHORT / "status.json").write_text(json.dumps(status))
    assert main(["train", str(SHORT), "steps=20"]) == 2
    message = capsys.readouterr().err
    assert "the run has not finished (it is interrupted)" in message
    assert f"`weft resume {SHORT}` goes on with it" in message


def test_a_run_without_its_last_step_is_refused(
    short: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (SHORT / "checkpoints/step_00000008.pt").write_bytes(b"gone")
    assert main(["train", str(SHORT), "steps=20"]) == 1
    assert "the checkpoint of its last step, 8, is gone or damaged" in capsys.readouterr().err


def test_a_run_that_wore_out_is_refused(
    toy: str, workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    train(*WORDS, "seed=1", "optim.lr=1", "steps=60", "eval.patience=2")
    assert open_run(SHORT).status["step"] < 60
    assert main(["train", str(SHORT), "steps=90"]) == 2
    assert "2 evaluations in a row brought nothing better" in capsys.readouterr().err


def test_damaged_rows_are_told_before_a_directory_is_made(short: Run) -> None:
    (SHORT / "metrics.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="not text") as caught:
        train(str(SHORT), "steps=20")
    assert caught.value.where == str(SHORT / "metrics.jsonl") and not NEW.exists()
