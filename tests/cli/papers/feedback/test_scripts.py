"""The commands of feedback's original README run as printed and leave the files expected."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.papers.feedback.scripts import (
    SET,
    SMALL,
    adapted,
    feedforward,
    runs,
    table,
    weights,
)
from weft.engine.checkpoint import read
from weft.papers.feedback import runs as feedback_runs
from weft.papers.feedback.train import main

# The README's commands.
FEEDFORWARD = "python feedforward_train.py --active_dataset gsm8k"
RESUME = "python feedforward_train.py --active_dataset wikitext --resume True"
RECURRENT = r"""
python feedbackward_rec_alt_train.py \
    --active_dataset gsm8k \
    --ff_checkpoint_dir .out/gsm8k/ff_model_2025-08-17_10-00-00 \
    --ff_checkpoint_name epoch_ckpt_gsm8k.pt \
    --lora_rank 4
"""
FEEDBACK = r"""
python feedbackward_alt_train.py \
    --active_dataset wikitext \
    --ff_checkpoint_dir .out/wikitext/ff_model_2025-08-17_12-00-00 \
    --ff_checkpoint_name epoch_ckpt_wikitext.pt \
    --lora_rank 8
"""


def run_command(command: str, *more: str) -> int:
    """A command of the README, with words appended."""
    _, script, *words = shlex.split(command)
    return main(Path(script).stem, [*words, *SET, *more])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the hour of 17 August 2025."""

    def set_hour(hour: int) -> None:
        class Still(datetime):
            @classmethod
            def now(cls, tz: object = None) -> Still:
                return cls(2025, 8, 17, hour)

        monkeypatch.setattr(feedback_runs, "datetime", Still)

    return set_hour


def test_the_readme_s_commands_run_as_printed(
    clock: Callable[[int], None],
    stopped: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock(10)
    assert run_command(FEEDFORWARD) == 0
    assert ".out/gsm8k/ff_model_2025-08-17_10-00-00  loss_original" in capsys.readouterr().out
    clock(12)
    stopped(3)
    assert run_command(RESUME.partition(" --resume")[0]) == 143
    assert "--resume True goes on with it" in capsys.readouterr().err
    clock(13)
    assert run_command(RESUME) == 0
    [resumed] = runs("wikitext")
    assert resumed.name == "ff_model_2025-08-17_12-00-00"
    assert resumed.state == "finished"
    assert [row["epoch"] for row in table(resumed.path)] == ["1", "1", "2", "2"]
    clock(14)
    assert run_command(RECURRENT) == 0
    assert run_command(FEEDBACK) == 0
    recurrent, other = runs()[-1], runs("wikitext")[-1]
    assert recurrent.name == "fb_rec_model_2025-08-17_14-00-00"
    assert other.name == "fb_model_2025-08-17_14-00-00"
    for run, rank, base in ((recurrent, 4, runs()[0]), (other, 8, resumed)):
        assert run.config["lora_rank"] == rank
        assert run.config["recurrent"] is (run is recurrent)
        assert run.config["feedback_reverse"] is True
        assert run.config["mode"] == "compat"
        file = Path(run.parents["base"]["file"])
        assert file == (base.path / "checkpoints/step_00000004.pt").resolve()


def test_a_run_leaves_the_original_s_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["feedforward_train.py"])
    assert feedforward("--set", "epochs=3", "--set", "checkpoint.keep_every=2 epochs",
                       "--set", "checkpoint.keep=1") == 0  # fmt: skip
    [run] = runs()
    path = run.path
    assert (path / "config.json").read_text() == Path("config.json").read_text()
    assert (path / "feedforward_train.py").read_text() == Path("feedforward_train.py").read_text()
    names = {each.name for each in path.glob("*_ckpt_*")}
    assert {"epoch_ckpt_gsm8k_2.pt", "epoch_ckpt_gsm8k_3.pt", "epoch_ckpt_gsm8k.pt",
            "best_ckpt_gsm8k.pt"} <= names  # fmt: skip
    assert weights(path, "epoch_ckpt_gsm8k_2.pt").keys() == run.load_model().state_dict().keys()
    assert torch.load(path / "epoch_ckpt_gsm8k_2.pt", weights_only=True)["progress"]["step"] == 4
    newest = torch.load(path / "epoch_ckpt_gsm8k.pt", weights_only=True)
    assert newest["progress"]["step"] == 6
    best = torch.load(path / "best_ckpt_gsm8k.pt", weights_only=True)
    assert best["progress"]["step"] == run.status["best"]["step"]
    assert run.status["best"]["value"] == run.metrics["val/loss_original"]

    rows = table(path)
    assert list(rows[0]) == ["type", "epoch", "loss", "lr"]
    assert [(row["type"], row["epoch"]) for row in rows] == [
        (kind, str(epoch)) for epoch in (1, 2, 3) for kind in ("train", "val")
    ]
    history = run.history()
    trained = [row["train/loss"] for row in history if "train/loss" in row]
    held_out = [row["val/loss_original"] for row in history if "val/loss_original" in row]
    for epoch in range(3):
        mean = sum(trained[2 * epoch : 2 * epoch + 2]) / 2
        assert float(rows[2 * epoch]["loss"]) == pytest.approx(mean, abs=1e-6)
        assert float(rows[2 * epoch + 1]["loss"]) == pytest.approx(held_out[epoch], abs=1e-6)
    log = (path / "log.txt").read_text()
    assert f"type val  epoch 3  loss {held_out[2]:.6f}" in log
    assert "eval_interval" in log and "no effect" in log


def test_names_and_cadences_of_files_are_the_config_s() -> None:
    config = json.loads(Path("config.json").read_text())
    config["training"] |= {
        "out_dir": "elsewhere", "ff_run_name": "mine", "log_file_name": "train.log",
        "csv_file_name": "losses.csv", "save_best_ckpt": False, "save_epoch": False,
    }  # fmt: skip
    Path("own.json").write_text(json.dumps(config))
    assert feedforward("--config", "own.json") == 0
    assert not Path(".out").exists()
    [path] = Path("elsewhere/gsm8k").glob("mine_????-??-??_??-??-??")
    assert len(table(path, "losses.csv")) == 4
    assert "finished" in (path / "train.log").read_text()
    assert list(path.glob("*_ckpt_*")) == []
    assert (path / "config.json").read_text() == Path("own.json").read_text()


@pytest.mark.parametrize(
    ("name", "more", "column", "expected"),
    [
        ("feedforward_fine_tune_train", [], "loss_ft", {"stage": "fine_tune", "scope": "attn"}),
        ("feedbackward_alt_train", ["--lora_rank", "2", "--feedback_reverse", "False"],
         "loss_lora", {"stage": "feedback", "recurrent": False, "feedback_reverse": False}),
    ],
)  # fmt: skip
def test_an_adaptation_starts_from_the_named_epoch_and_is_compared_with_it(
    base: Path, name: str, more: list[str], column: str, expected: dict[str, Any]
) -> None:
    # A name does as well as a path, and the base may have learnt from another data set.
    assert adapted(name, Path(base.name), *more) == 0
    [run] = runs("wikitext")
    assert {key: run.config[key] for key in expected} == expected
    pin = run.parents["base"]
    assert Path(pin["file"]) == (base / "epoch_ckpt_gsm8k_1.pt").resolve()
    assert Path(pin["file"]).name == "step_00000002.pt"
    kept = "origin." if name == "feedforward_fine_tune_train" else "base."
    ours, theirs = weights(run.path, "epoch_ckpt_wikitext.pt"), read(Path(pin["file"]))["model"]
    for key, tensor in theirs.items():
        assert torch.equal(ours[key.replace("base.", kept, 1)], tensor)

    rows = table(run.path)
    assert list(rows[0]) == ["type", "epoch", "loss", column, "rel_change", "lr"]
    assert [row["type"] for row in rows] == ["train", "val"] * 2
    for row in rows[1::2]:
        loss, other = float(row["loss"]), float(row[column])
        assert loss != other
        assert float(row["rel_change"]) == pytest.approx((other - loss) / loss, abs=1e-5)
    # The text is the same here, so the base scores what it scored at the end of its first epoch.
    assert float(rows[1]["loss"]) == pytest.approx(float(table(base)[1]["loss"]), abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="GSM8K is looked for in $WEFT_DATA")
def test_the_shipped_config_trains_on_the_original_s_data() -> None:
    pytest.importorskip("tokenizers", reason="GPT-2's tokens need the extra `text`")
    names = ("model.n_layer", "model.n_head", "model.n_embd", "engine.compile", "eval.levels",
             "eval.chunks", "log.tensorboard")  # fmt: skip
    small = [word for name in names for word in ("--set", f"{name}={SMALL[name]}")]
    _, script, *words = shlex.split(FEEDFORWARD)
    assert main(Path(script).stem, [*words, *small, "--set", "steps=2"]) == 0
    [run] = runs()
    assert run.resolved["batches_per_epoch"] == 116
    assert (run.resolved["train_items"], run.resolved["val_items"]) == (7473, 1319)
    assert run.config["data"]["tokenizer"] == "gpt2"
