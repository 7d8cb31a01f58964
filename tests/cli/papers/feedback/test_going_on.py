"""Under --resume a run goes on as it began, as far as it is told, and as nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import weft
from tests.cli.papers.feedback.scripts import (
    FF,
    SET,
    adapted,
    feedforward,
    runs,
    table,
    weights,
)
from weft import api
from weft.papers.feedback.train import main


def test_going_on_from_an_older_checkpoint_retraces_the_run_in_a_folder_of_its_own(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {each: each.read_bytes() for each in base.iterdir() if each.is_file()}
    named = ["--checkpoint_dir", base.name, "--checkpoint_name", "epoch_ckpt_gsm8k_1.pt"]
    assert feedforward("--resume", "True", *named) == 0
    assert {each: each.read_bytes() for each in before} == before
    again = runs()[-1].path
    assert again != base
    assert f"in {again}" in capsys.readouterr().err
    assert table(again) == table(base)
    ours, theirs = (weights(run, "epoch_ckpt_gsm8k_2.pt") for run in (again, base))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    log = (again / "log.txt").read_text()
    assert "goes on from" in log and "resumed at step 2 of 4" in log


def test_the_newest_checkpoint_of_a_finished_run_cannot_go_on(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--checkpoint_name", "epoch_ckpt_gsm8k.pt"]):
        assert feedforward("--resume", "True", *words) == 2
        assert "the run is finished" in capsys.readouterr().err
    assert len(runs()) == 1


@pytest.mark.parametrize("way", ["--set", "config.json"])
def test_more_epochs_go_on_with_a_finished_run_at_the_rates_of_its_new_length(
    way: str, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--resume", "True", *SET]
    if way == "--set":
        words += ["--set", "epochs=3"]
    else:
        config = json.loads(Path("config.json").read_text())
        config["training"]["epochs"] = 3
        Path("config.json").write_text(json.dumps(config))
        at = words.index("epochs=2")
        del words[at - 1 : at + 1]
    before = table(base)
    assert main("feedforward_train", [*FF, *words]) == 0
    [run] = runs()
    assert (run.path, run.state, run.status["total_steps"]) == (base, "finished", 6)
    assert (run.config["epochs"], run.resolved["total_steps"]) == (3, 6)
    rows = table(base)
    assert rows[:4] == before and [row["epoch"] for row in rows[4:]] == ["3", "3"]
    # The last step of a straight run of three epochs has this rate, too.
    capsys.readouterr()
    assert feedforward("--set", "epochs=3") == 0
    assert rows[-1]["lr"] == table(runs()[-1].path)[-1]["lr"] != before[-1]["lr"]
    # A run that went on is one like any other: it is evaluated, and goes on again.
    assert api.evaluate(base)["val/loss_original"] == run.metrics["val/loss_original"]
    assert main("feedforward_train", [*FF, *words, "--checkpoint_dir", str(base)]) == 2
    assert "the run is finished" in capsys.readouterr().err
    assert api.resume(base, "steps=7", report=False) is not None
    assert weft.runs(str(base))[0].status["step"] == 7


def test_a_run_is_not_made_shorter_than_it_is(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert feedforward("--resume", "True", "--set", "epochs=1") == 2
    assert "the run has done 4 steps, and 2 are asked for" in capsys.readouterr().err


def test_without_resume_a_new_run_begins(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (base / "metrics.jsonl").read_bytes()
    assert feedforward("--resume", "False", "--checkpoint_dir", base.name) == 0
    assert "no effect without --resume True" in capsys.readouterr().err
    assert len(runs()) == 2
    assert (base / "metrics.jsonl").read_bytes() == before


def test_a_run_goes_on_as_it_began_and_as_nothing_else(
    base: Path, stopped: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(3)
    rank = ["--lora_rank", "2"]
    assert adapted("feedbackward_alt_train", base, *rank) == 143
    [run] = runs("wikitext")
    assert Path(run.path, "epoch_ckpt_wikitext.pt").resolve().name == "step_00000003.pt"
    resume = ["--resume", "True", "--fb_checkpoint_dir", str(run.path)]
    for words, message in (
        (["--lora_rank", "4"], "--lora_rank is 2 there, 4 here"),
        ([*rank, "--feedback_reverse", "False"], "--feedback_reverse is True there, False here"),
        ([*rank, "--set", "optim.lr=1"], "`optim.lr` cannot change when a run goes on"),
    ):
        assert adapted("feedbackward_alt_train", base, *resume, *words) == 2
        assert message in capsys.readouterr().err
    assert adapted("feedbackward_alt_train", Path("other"), *resume, *rank) == 2
    assert "--ff_checkpoint_dir is" in capsys.readouterr().err
    assert adapted("feedbackward_rec_alt_train", base, *resume, *rank) == 2
    assert "script is feedbackward_alt_train there" in capsys.readouterr().err
    other = ["--resume", "True", "--fb_checkpoint_dir", str(base)]
    assert adapted("feedbackward_alt_train", base, *other, *rank) == 2
    assert "script is feedforward_train there" in capsys.readouterr().err
    assert adapted("feedbackward_rec_alt_train", base, "--resume", "True", *rank) == 2
    assert "no run `fb_rec_model_…`" in capsys.readouterr().err

    config = Path("config.json")
    config.write_text(config.read_text().replace('"dropout": 0.1', '"dropout": 0.5'))
    assert adapted("feedbackward_alt_train", base, "--resume", "True", *rank) == 0
    assert "has changed; the run keeps its own copy" in capsys.readouterr().err
    [run] = runs("wikitext")
    assert run.config["model"]["dropout"] == 0.1
    assert [row["epoch"] for row in table(run.path)] == ["1", "1", "2", "2"]


# Killed at the worst moment: an epoch's validation is written down, its checkpoint is not.
KILLED = """
import os, signal, sys
from weft.papers.feedback.train import main
from weft.engine.checkpoint import Store

save = Store.save

def saved_or_killed(store, state, step, **how):
    if step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return save(store, state, step, **how)

Store.save = saved_or_killed
main("feedforward_train", sys.argv[1:])
"""


@pytest.mark.slow
def test_kill_9_then_resume_equals_the_straight_run() -> None:
    long = ["--set", "epochs=4", "--set", "checkpoint.keep_every=2 epochs"]
    command = [sys.executable, "-c", KILLED, *FF, *SET, *long]
    ended = subprocess.run(command, capture_output=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    [killed] = runs()
    assert killed.state == "crashed"
    assert [row["epoch"] for row in table(killed.path)] == ["1", "1", "2", "2", "3", "3"]
    assert feedforward(*long, "--resume", "True") == 0
    assert feedforward(*long) == 0
    resumed, straight = runs()
    assert resumed.path == killed.path
    assert table(resumed.path) == table(straight.path)
    assert [row["epoch"] for row in table(straight.path)][::2] == ["1", "2", "3", "4"]
    for name in ("epoch_ckpt_gsm8k_2.pt", "epoch_ckpt_gsm8k.pt"):
        ours, theirs = weights(resumed.path, name), weights(straight.path, name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
