"""A flag means what it says, wins over the file, and a mistake in one is refused in words."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.papers.feedback.scripts import FF, SET, runs
from weft import api
from weft.papers.feedback.flags import boolean
from weft.papers.feedback.layout import epochs
from weft.papers.feedback.train import main

NOWHERE = ["--ff_checkpoint_dir", "nowhere", "--ff_checkpoint_name", "best_ckpt_gsm8k.pt"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("feedforward_train", [], "required: --active_dataset"),
        ("feedforward_train", ["--active_dataset", "gsm"], "did you mean `gsm8k`"),
        ("feedforward_train", [*FF, "--config", "none.json"], "cannot read none.json"),
        ("feedforward_train", [*FF, "--resume", "maybe"], "`maybe` is neither True nor False"),
        ("feedforward_train", [*FF, "--resume", "True"], "no run `ff_model_…` to resume"),
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
