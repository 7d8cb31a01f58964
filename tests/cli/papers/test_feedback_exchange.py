"""Checkpoints of the feedback original become runs, and runs become such checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import weft
from weft import api
from weft.cli import main
from weft.papers.feedback.train import main as script
from weft.reports import page
from weft.run import samples
from weft.run.registry import Run

SIZE = ("model.n_layer=2", "model.n_head=2", "model.n_embd=8", "data.block_size=16")
WORDS = (
    "feedback/original", *SIZE, "data.tokenizer=bytes", "batch_size=4", "engine.compile=false",
    "engine.precision=fp32", "eval.levels=1", "eval.chunks=4", "eval.batch_size=2", "eval.texts=0",
    "log.every=1", "log.tensorboard=false", "epochs=2", "checkpoint.every=1 epoch",
)  # fmt: skip
ORIGINAL = ("--to", "original")
TEXT = "\n\n".join(f"Twelve {n}s" for n in "abcdefghij") + "\n"
V, C = 384, 8
Shapes = dict[str, tuple[int, ...]]
BLOCK: Shapes = {"q_attn": (C, C), "k_attn": (C, C), "v_attn": (C, C), "c_proj": (C, C)}


def block(home: str, half: str = "") -> Shapes:
    attention = {f"{home}.attn{half}.{name}.weight": shape for name, shape in BLOCK.items()}
    mlp = {f"{home}.mlp{half}.c_fc.weight": (4 * C, C),
           f"{home}.mlp{half}.c_proj.weight": (C, 4 * C)}  # fmt: skip
    return attention | mlp


# As recorded from the original's checkpoints.
FEEDFORWARD: Shapes = {
    "transformer.wte.weight": (V, C),
    **block("transformer.h.0"),
    **block("transformer.h.1"),
    "lm_head.weight": (V, C),
}
RECURRENT: Shapes = {
    "transformer.wte.weight": (V, C),
    "transformer.h.h_qkvo": (1, 16, C),
    **block("transformer.h", "_1"),
    **block("transformer.h", "_2"),
    "transformer.le.weight": (2, C),
}
BLOCKS: Shapes = {"transformer.wte.weight": (V, C)}
for _home in ("transformer.h.0", "transformer.h.1"):
    BLOCKS |= {f"{_home}.h_qkvo": (1, 16, C), **block(_home, "_1"), **block(_home, "_2")}
COMPAT = ("stage=feedback", "mode=compat", "lora_rank=2")
STAGES: dict[str, tuple[tuple[str, ...], Shapes, int]] = {
    "feedforward": ((), FEEDFORWARD, 13),
    "fine_tune": (("stage=fine_tune",), FEEDFORWARD, 8),
    "recurrent": ((*COMPAT, "recurrent=true"), RECURRENT, 15),
    "blocks": (COMPAT, BLOCKS, 27),
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    monkeypatch.setattr(samples, "draw", lambda trained: [])
    monkeypatch.setattr(page, "write_page", lambda run, task=None: run.path)
    Path("mine.txt").write_text(TEXT)
    training: dict[str, Any] = {
        "epochs": 2, "batch_size": 4, "dtype": "float32", "learning_rate": 3e-4, "min_lr": 3e-5,
        "compile": False, "grad_clip": 1.0,
    }  # fmt: skip
    config = {
        "datasets": {"mine": {"name": "mine.txt", "tokenizer_name": "bytes", "block_size": 16}},
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 8, "dropout": 0.1},
        "training": training,
    }
    Path("config.json").write_text(json.dumps(config))
    return workspace


def train(name: str, *words: str) -> Run:
    run = api.train(*WORDS, "data.dataset=mine.txt", *words, f"run.name={name}", report=False)
    assert run is not None
    return run


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "stage", ["feedforward", "fine_tune", "recurrent", pytest.param("blocks", marks=SLOW)]
)
def test_an_exported_checkpoint_has_the_recorded_keys_shapes_and_types(stage: str) -> None:
    words, shapes, trained = STAGES[stage]
    base = train("base")
    run = base if stage == "feedforward" else train("adapted", *words, f"base={base.path}")
    assert main(["export", str(run.path), "out.pt", "--checkpoint", "2", *ORIGINAL]) == 0
    saved = torch.load("out.pt", weights_only=True)
    assert list(saved) == ["step", "model_state_dict", "optimizer_state_dict", "loss", "val_loss",
                           "best_val_loss"]  # fmt: skip
    assert {key: tuple(value.shape) for key, value in saved["model_state_dict"].items()} == shapes
    assert list(saved["model_state_dict"]) == list(shapes)
    assert saved["step"] == 2
    rows = {row["step"]: row for row in run.history() if "val/loss_original" in row}
    assert saved["val_loss"] == pytest.approx(rows[2]["val/loss_original"], abs=1e-6)
    assert saved["best_val_loss"] == saved["val_loss"]
    means = [row["train/loss"] for row in run.history() if "train/loss" in row][:2]
    assert saved["loss"] == pytest.approx(sum(means) / 2, abs=1e-6)
    moments = saved["optimizer_state_dict"]
    assert list(moments["state"]) == moments["param_groups"][0]["params"] == list(range(trained))
    kept = [key for key in shapes if key != "lm_head.weight"]
    if stage == "fine_tune":
        kept = [key for key in kept if ".attn." in key]
    for each, key in zip(moments["state"].values(), kept, strict=True):
        assert list(each) == ["step", "exp_avg", "exp_avg_sq"]
        assert tuple(each["exp_avg"].shape) == shapes[key]


@pytest.mark.parametrize(
    "stage",
    [pytest.param("feedforward", marks=SLOW), "recurrent", pytest.param("blocks", marks=SLOW)],
)
def test_an_imported_checkpoint_goes_on_as_the_run_it_came_from(stage: str) -> None:
    base = train("base")
    words = STAGES[stage][0]
    run = base if not words else train("adapted", *words, f"base={base.path}")
    assert main(["export", str(run.path), "out.pt", "--checkpoint", "last", *ORIGINAL]) == 0
    more = [] if not words else ["--base", str(base.path)]
    assert main(["import", "out.pt", "--dataset", "mine", "--dir", "back", *more]) == 0
    ours, theirs = run.load_model("last").state_dict(), api.load("back").state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert api.evaluate("back")["val/loss"] > 0
    resumed = []
    for path in (run.path, Path("back")):
        again = api.resume(path, "epochs=3", "log.tensorboard=false", report=False)
        assert again is not None and again.status["step"] == 6
        resumed.append(again.load_model("last").state_dict())
    assert all(torch.equal(value, resumed[1][key]) for key, value in resumed[0].items())
    assert not torch.equal(resumed[0]["base.table"], ours["base.table"]) or words


@pytest.mark.parametrize(
    ("home", "name"),
    [
        (".out/mine/ff_model_2025-08-17_10-00-00", "best_ckpt_mine.pt"),
        ("elsewhere/copied", "epoch_ckpt_mine_10.pt"),
    ],
)
def test_the_scripts_take_a_checkpoint_of_the_original_as_the_base(
    home: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("base", "steps=1", "epochs=null")
    folder = Path(home)
    folder.mkdir(parents=True)
    assert main(["export", str(run.path), str(folder / name), *ORIGINAL]) == 0
    (folder / "config.json").write_text(Path("config.json").read_text())
    where = folder.name if home.startswith(".out") else home
    place = ["--ff_checkpoint_dir", where, "--ff_checkpoint_name", name]
    small = [word for pair in ("steps=1", "eval.levels=1", "log.tensorboard=false")
             for word in ("--set", pair)]  # fmt: skip
    words = ["--active_dataset", "mine", *place, *small]
    assert script("feedforward_fine_tune_train", words) == 0
    assert "is the original's: imported as" in capsys.readouterr().err
    [tuned] = [each for each in weft.runs(".out") if each.name.startswith("ft_model")]
    ours, theirs = tuned.load_model("last").state_dict(), run.load_model("last").state_dict()
    assert torch.equal(ours["origin.table"], theirs["base.table"])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda saved: saved.pop("step"), "not a checkpoint of the original"),
        (lambda saved: saved["model_state_dict"].pop("transformer.h.1.mlp.c_fc.weight"),
         "`transformer.h.1.mlp.c_fc.weight` is missing"),
        (lambda saved: saved["model_state_dict"].update({"transformer.wte.weight": torch.ones(2)}),
         "`transformer.wte.weight` is (2,)"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused(
    spoil: Callable[[Any], Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("base", "steps=1", "epochs=null")
    assert main(["export", str(run.path), "out.pt", *ORIGINAL]) == 0
    saved = torch.load("out.pt", weights_only=True)
    spoil(saved)
    torch.save(saved, "out.pt")
    assert main(["import", "out.pt", "--dataset", "mine", "--dir", "back"]) != 0
    assert says in capsys.readouterr().err
    assert not Path("back").exists()


def test_a_network_that_the_original_has_not_is_not_exported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = train("base", "steps=1", "epochs=null")
    run = train("own", "stage=static", "lora_rank=2", f"base={base.path}")
    assert main(["export", str(run.path), "out.pt", *ORIGINAL]) == 2
    assert "the original has no such network" in capsys.readouterr().err
