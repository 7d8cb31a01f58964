"""The commands of seed README 004 run as printed and leave the files its users expect."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

import weft
from weft import api
from weft.engine.checkpoint import read
from weft.engine.step import Stepper
from weft.papers.feedback import runs as feedback_runs
from weft.papers.feedback.flags import boolean
from weft.papers.feedback.layout import epochs
from weft.papers.feedback.train import main
from weft.reports import page
from weft.run import samples
from weft.run.registry import Run
from weft.task.context import Context

PAPER = Path(__file__).parents[3] / "papers" / "feedback"
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
# On a text that needs no download, with two batches an epoch.
SMALL = {
    "data.dataset": "mine.txt", "data.tokenizer": "bytes", "data.block_size": "16",
    "batch_size": "4", "epochs": "2", "model.n_layer": "1", "model.n_head": "1",
    "model.n_embd": "8", "engine.compile": "false", "engine.precision": "fp32",
    "eval.levels": "1", "eval.chunks": "4", "log.every": "1", "log.tensorboard": "false",
    "checkpoint.keep_every": "1 epoch",
}  # fmt: skip
SET = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
TEXT = "\n\n".join(f"Twelve {n}s" for n in "abcdefghij") + "\n"
FF = ["--active_dataset", "gsm8k"]


def run_command(command: str, *more: str) -> int:
    """A command of the README, with words appended."""
    _, script, *words = shlex.split(command)
    return main(Path(script).stem, [*words, *SET, *more])


def feedforward(*words: str) -> int:
    return main("feedforward_train", [*FF, *SET, *words])


def adapted(name: str, base: Path, *words: str) -> int:
    place = ["--ff_checkpoint_dir", str(base), "--ff_checkpoint_name", "epoch_ckpt_gsm8k_1.pt"]
    return main(name, ["--active_dataset", "wikitext", *place, *words, *SET])


def runs(dataset: str = "gsm8k") -> list[Run]:
    return weft.runs(f".out/{dataset}")


def weights(run: Path, checkpoint: str) -> dict[str, torch.Tensor]:
    state = torch.load(run / checkpoint, weights_only=True)
    return dict(state["model"])


def table(run: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (run / name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scripts' folder as a user has it, a small text, and no pictures, which take longest."""
    for file in PAPER.iterdir():
        if file.is_file():
            shutil.copy(file, workspace)
    config = json.loads((PAPER / "config.json").read_text())
    config["training"]["save_epoch_interval"] = 1
    Path("config.json").write_text(json.dumps(config, indent=1))
    Path("mine.txt").write_text(TEXT)
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(samples, "draw", lambda trained: [])
    monkeypatch.setattr(page, "write_page", lambda run, task=None: run.path)
    return workspace


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


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has the next run interrupted after its step of that number."""
    awaited: list[int] = []

    step = Stepper.__call__

    def watched(self: Stepper, batches: Any, ctx: Context) -> Any:
        scalars = step(self, batches, ctx)
        if awaited == [ctx.step + 1]:
            awaited.clear()
            os.kill(os.getpid(), signal.SIGTERM)
        return scalars

    monkeypatch.setattr(Stepper, "__call__", watched)
    return awaited.append


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


@pytest.fixture
def base(folder: Path) -> Path:
    """A trained feedforward model, with checkpoints of two epochs."""
    assert feedforward() == 0
    return runs()[0].path


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
        assert feedforward("--resume", "True", *words) == 1
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
    assert main("feedforward_train", [*FF, *words, "--checkpoint_dir", str(base)]) == 1
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


NOWHERE = ["--ff_checkpoint_dir", "nowhere", "--ff_checkpoint_name", "best_ckpt_gsm8k.pt"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("feedforward_train", [], "required: --active_dataset"),
        ("feedforward_train", ["--active_dataset", "gsm"], "did you mean `gsm8k`"),
        ("feedforward_train", [*FF, "--config", "none.json"], "cannot read none.json"),
        ("feedforward_train", [*FF, "--resume", "maybe"], "`maybe` is neither True nor False"),
        ("feedforward_train", [*FF, "--resume", "True"], "no run `ff_model_…` to go on with"),
        ("feedforward_train", [*FF, "--resume", "True", "--checkpoint_dir", "x"], "no run `x`"),
        ("feedforward_train", [*FF, "--set", "epochs"], "`epochs` sets nothing"),
        ("feedforward_train", [*FF, "--lora_rank", "4"], "unrecognized arguments"),
        ("feedforward_fine_tune_train", FF, "--ff_checkpoint_dir, --ff_checkpoint_name"),
        ("feedforward_fine_tune_train", [*FF, *NOWHERE], "there is no run `nowhere`"),
        ("feedbackward_alt_train", [*FF, *NOWHERE], "required: --lora_rank"),
        ("feedbackward_alt_train", [*FF, *NOWHERE, "--lora_rank", "x"], "invalid int value"),
        ("feedback_train", FF, "did you mean"),
    ],
)
def test_a_mistake_exits_with_2_and_writes_nothing(
    name: str, words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert main(name, words) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_a_checkpoint_or_rank_that_cannot_be_is_refused(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--active_dataset", "gsm8k", "--ff_checkpoint_dir", str(base), *SET]
    words = [*place, "--ff_checkpoint_name", "epoch_ckpt_gsm8k_7.pt"]
    assert main("feedbackward_alt_train", [*words, "--lora_rank", "2"]) == 2
    error = capsys.readouterr().err
    assert "there is no checkpoint `epoch_ckpt_gsm8k_7.pt`" in error
    assert "epoch_ckpt_gsm8k_1.pt, epoch_ckpt_gsm8k_2.pt" in error
    words = [*place, "--ff_checkpoint_name", "epoch_ckpt_gsm8k.pt"]
    assert main("feedbackward_alt_train", [*words, "--lora_rank", "0"]) == 2
    assert "`lora_rank` = 0 is not allowed   (--lora_rank)" in capsys.readouterr().err
    assert len(runs()) == 1


@pytest.mark.parametrize(
    ("text", "meant"),
    [("True", True), ("true", True), ("1", True), ("False", False), ("false", False), ("0", False)],
)
def test_booleans_mean_what_they_say(text: str, meant: bool) -> None:
    assert boolean(text) is meant


@pytest.mark.parametrize(
    ("in_file", "flag", "meant"),
    [(None, None, True), (False, None, False), (False, "True", True), (None, "False", False)],
)
def test_feedback_is_reversed_unless_file_or_flag_say_otherwise(
    in_file: bool | None, flag: str | None, meant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads(Path("config.json").read_text())
    config["model"]["feedback_reverse"] = in_file
    Path("config.json").write_text(json.dumps(config))
    Path("base").mkdir()
    for name in ("status.json", "epoch_ckpt.pt"):
        Path("base", name).touch()
    seen: dict[str, Any] = {}
    monkeypatch.setattr(api, "train", lambda *words, **values: seen.update(values))
    words = ["--ff_checkpoint_dir", "base", "--ff_checkpoint_name", "epoch_ckpt.pt"]
    words += ["--lora_rank", "4", *(["--feedback_reverse", flag] if flag else [])]
    assert main("feedbackward_alt_train", [*FF, *words, *SET]) == 0
    assert seen["feedback_reverse"] is meant


def test_the_last_length_and_kind_win_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(api, "train", lambda *words, **values: seen.update(values))
    words = ["--set", "steps=5", "--set", "schedule.kind=constant", "--set", "clip.kind=none"]
    assert main("feedforward_train", [*FF, *words]) == 0
    config = api.configure("feedback/original", **{k: v for k, v in seen.items() if "." in k},
                           steps=seen["steps"]).config  # fmt: skip
    assert (config.steps, config.epochs) == (5, None)
    assert config.schedule.kind == "constant"
    assert config.clip.kind == "none"


@pytest.mark.parametrize(("more", "compiled"), [([], False), (["engine.compile=true"], True)])
def test_a_cpu_compiles_only_when_told_to(
    more: list[str],
    compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(api, "train", lambda *words, **values: seen.update(values))
    words = [w for pair in ("engine.device=cpu", *more) for w in ("--set", pair)]
    assert main("feedforward_train", [*FF, *words]) == 0
    assert seen["engine.compile"] is compiled
    assert ("not compiled on a CPU" in capsys.readouterr().err) is not compiled


def test_weft_s_own_way_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(api, "train", lambda *words, **values: seen.update(values))
    Path("run").mkdir()
    for name in ("status.json", "epoch_ckpt.pt"):
        Path("run", name).touch()
    words = ["--ff_checkpoint_dir", "run", "--ff_checkpoint_name", "epoch_ckpt.pt"]
    own = {"data.batching": "buckets", "data.pad_is_text": "false", "mode": "stable"}
    words += ["--lora_rank", "4", *(w for k, v in own.items() for w in ("--set", f"{k}={v}"))]
    assert main("feedbackward_alt_train", [*FF, *words]) == 0
    assert seen["mode"] == "stable"
    assert (seen["data.batching"], seen["data.pad_is_text"]) == ("buckets", False)


def test_a_diverged_loss_is_written_as_such() -> None:
    row = {"step": 2, "epoch": 1.0, "val/loss_padded": None, "val/base_loss_padded": 2.0}
    train = {"step": 1, "epoch": 0.5, "train/loss": None, "opt/lr": 1e-3}
    assert epochs([train, row], adapted=True) == [
        ["train", "1", "", "nan", "", "0.001"],
        ["val", "1", "2.000000", "nan", "nan", "0.001"],
    ]


def test_the_launcher_goes_to_the_package(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["feedforward_train.py", *FF, "--resume", "no way"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path("feedforward_train.py", run_name="__main__")
    assert ended.value.code == 2
    assert "neither True nor False" in capsys.readouterr().err


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
