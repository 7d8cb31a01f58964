"""The commands of the original jepa README run as printed and leave the files it promises."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from weft import api
from weft.config.yaml import read_file, write
from weft.errors import UsageError
from weft.families.jepa.options.original import flat
from weft.families.jepa.options.table import export
from weft.papers.jepa.train import _resolved, main, read_configs, uninit_baseline

TRAIN = (
    "python train.py --configs <1 or more paths to .yaml files> --values wandb=True "
    "output_path=<path> model_type=VICReg vicreg.base_lr=42"
)
REPRODUCE = (
    "python train.py --configs reproduce_configs/sweep_fixed_uniform.(1.25).vicreg.best.yaml"
)
SHORT = [
    word
    for pair in ("steps=2", "batch_size=4", "norm_batches=1", "val_dataset_size=8", "probe.size=8",
                 "log.every=1", "log.tensorboard=false", "checkpoint.every=1 steps",
                 "checkpoint.keep_every=1 steps", "model.embedding_size=16",
                 "model.backbone_width_factor=1")
    for word in ("--set", pair)
]  # fmt: skip


def arguments(command: str) -> list[str]:
    """The command's words with its places in angle brackets filled in."""
    for place, text in (("1 or more paths to .yaml files", "one.yaml two.yaml"), ("path", "out")):
        command = command.replace(f"<{place}>", text)
    return shlex.split(command)[2:]


def test_the_first_command_merges_files_and_values_and_leaves_what_the_original_did(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither installed nor online here: one warning, and the run goes on.
    monkeypatch.setenv("WANDB_MODE", "disabled")
    shared = {"arch": "menet5", "predictor": "rnn", "projector": "id", "sim_coeff": 10.0}
    first = {"model_type": "RSSM", "dataset_noise": 0.5, "seed": 1, "vicreg": shared}
    Path("one.yaml").write_text(write(first))
    Path("two.yaml").write_text(write({"seed": 2, "vicreg": {"std_coeff": 7.0}}))
    assert main([*arguments(TRAIN), *SHORT]) == 0
    config, _ = read_file(Path("out/config.yaml"))
    assert config["objective"] == "vicreg"
    assert config["seed"] == 2
    assert config["dataset_noise"] == 0.5
    assert config["optim"] == {"kind": "lars", "base_lr": 42.0, "momentum": 0.9,
                               "weight_decay": 1e-6, "eta": 1e-3}  # fmt: skip
    assert (config["vicreg"]["sim_coeff"], config["vicreg"]["std_coeff"]) == (10.0, 7.0)
    assert config["log"]["wandb"]["mode"] == "online"
    saved = torch.load("out/epoch=0_sample_step=8.ckpt", weights_only=True)
    assert set(saved) == {"model_state_dict", "optimizer_state_dict"}
    assert Path("out/epoch=0_sample_step=4.ckpt").is_file()
    results = json.loads(Path("out/probe_metrics.json").read_text())
    assert {"avg_eval_loss", "avg_eval_loss_rmse", "avg_eval_enc_loss_rmse", "eval/loss_0",
            "eval/loss_16_0_rmse", "epoch", "sample_step",
            "custom_step"} <= set(results)  # fmt: skip
    assert results["avg_eval_loss_rmse"] == pytest.approx(results["avg_eval_loss"] ** 0.5)
    scored = json.loads(Path("out/status.json").read_text())["metrics"]
    assert results["avg_eval_loss_rmse"] == pytest.approx(scored["test/rmse_px"], rel=1e-5)
    assert len((Path("out") / "metrics.jsonl").read_text().splitlines()) >= 2
    assert Path("out/figures/rollouts.png").is_file()
    assert Path("out/report.html").is_file()

    # The weights it left can be scored again, to the same number.
    weights = "load_checkpoint_path=out/epoch=0_sample_step=8.ckpt"
    again = ["--values", "output_path=again", "eval_only=True", weights]
    assert main([*arguments(TRAIN), *SHORT, *again]) == 0
    rescored = json.loads(Path("again/probe_metrics.json").read_text())
    assert rescored["avg_eval_loss_rmse"] == pytest.approx(results["avg_eval_loss_rmse"], rel=1e-5)


def test_the_second_command_trains_a_published_config_that_is_no_file(
    workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(REPRODUCE), *SHORT]) == 0
    assert "taking the published config sweep_fixed_uniform.(1.25).vicreg.best" in (
        capsys.readouterr().err
    )
    run = Path("runs/jepa/sweep_fixed_uniform.(1.25).vicreg.best")
    config, _ = read_file(run / "config.yaml")
    assert config["dataset_static_noise"] == 1.25
    assert config["vicreg"]["std_coeff"] == 118.40386631129034
    assert config["schedule"]["kind"] == "published"
    assert config["log"]["wandb"]["mode"] == "disabled"
    assert (run / "probe_metrics.json").is_file()
    assert list(run.glob("*.ckpt")) == []


def test_supervised_weights_are_scored_again_by_their_own_read_out(
    workspace: Path, without_pictures: None
) -> None:
    small = ["--set", "model.backbone_mlp=16", "--set", "model.rnn_layers=1"]
    config = ["--configs", "sweep_fixed_uniform.(1).supervised.best.yaml", *SHORT, *small]
    assert main([*config, "--values", "output_path=floor"]) == 0
    weights = "load_checkpoint_path=floor/epoch=0_sample_step=8.ckpt"
    assert main([*config, "--values", "output_path=again", weights]) == 0
    once, again = (
        json.loads(Path(name, "probe_metrics.json").read_text()) for name in ("floor", "again")
    )
    assert again["avg_eval_loss_rmse"] == pytest.approx(once["avg_eval_loss_rmse"], rel=1e-5)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 144 published configs as files."""
    folder = tmp_path_factory.mktemp("published")
    export(folder)
    return folder


@pytest.fixture
def reproduce_configs(exported: Path, workspace: Path) -> None:
    """They stand here."""
    Path("reproduce_configs").symlink_to(exported)


def test_exported_files_work_like_the_configs_they_stand_for(
    reproduce_configs: None, without_pictures: None
) -> None:
    assert main([*arguments(REPRODUCE), *SHORT, "--values", "vicreg.base_lr=0.5"]) == 0
    config, _ = read_file(Path("runs/jepa/sweep_fixed_uniform.(1.25).vicreg.best/config.yaml"))
    assert config["dataset_static_noise"] == 1.25
    assert config["optim"]["base_lr"] == 0.5


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["quick_debug=True"], {"steps": 1, "val_dataset_size": 32, "probe.size": 32}),
        (["eval_only=True"], {"objective": "random", "steps": 1}),
        (["eval_only=True", "probing_cfg.full_finetune=True", "probing_cfg.epochs=3"],
         {"objective": "supervised", "epochs": 3, "optim.kind": "adam"}),
        (["eval_at_the_end_only=False"], {"eval.every": "20 epochs"}),
        (["eval_at_the_end_only=True"], {"eval.every": "100 epochs"}),
        (["safe_every_n_epochs=3"], {"checkpoint.every": "3 epochs"}),
        (["vicreg.action_dim=2", "rssm.log_recontructed_image=False"], {"objective": "vicreg"}),
        (["wandb=False", "simclr.loss_temp=0.5"], {"simclr.loss_temp": 0.5}),
    ],
)  # fmt: skip
def test_exported_files_take_every_flag_of_the_original(
    flags: list[str], expected: dict[str, object], reproduce_configs: None
) -> None:
    old, files = read_configs([arguments(REPRODUCE)[1]], flags)
    words, values = _resolved(old, files, [])
    config = flat(api.configure(*words, **values).config.plain())
    assert {key: config[key] for key in expected} == expected


def test_exported_files_are_scored_with_the_weights_they_left(
    reproduce_configs: None, without_pictures: None
) -> None:
    assert main([*arguments(REPRODUCE), *SHORT, "--values", "output_path=out"]) == 0
    weights = "load_checkpoint_path=out/epoch=0_sample_step=8.ckpt"
    again = ["--values", "output_path=again", "eval_only=True", weights]
    assert main([*arguments(REPRODUCE), *SHORT, *again]) == 0
    once, twice = (
        json.loads(Path(name, "probe_metrics.json").read_text()) for name in ("out", "again")
    )
    assert twice["avg_eval_loss_rmse"] == pytest.approx(once["avg_eval_loss_rmse"], rel=1e-5)


def test_the_baseline_scores_networks_that_have_learnt_nothing(
    workspace: Path, without_pictures: None
) -> None:
    assert uninit_baseline([*arguments(REPRODUCE), *SHORT, "--values", "output_path=out"]) == 0
    config, _ = read_file(Path("out/config.yaml"))
    assert config["objective"] == "random"
    assert json.loads(Path("out/probe_metrics.json").read_text())["avg_eval_loss_rmse"] > 0


def test_later_files_and_values_win(workspace: Path) -> None:
    name = "reproduce_configs/sweep_fixed_uniform.(1).idm.best.yaml"
    Path("mine.yaml").write_text("seed: 7\nvicreg: {base_lr: 3}\n")
    old, own = read_configs([name, "mine.yaml"], ["seed=9", "vicreg.arch=lenet5"])
    assert own == []
    assert (old["seed"], old["vicreg.base_lr"], old["vicreg.arch"]) == (9, 3, "lenet5")
    assert old["dataset_static_noise"] == 1.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--configs", "reproduce_configs/sweep_fixed_uniform.(9).vicreg.best.yaml"],
         "did you mean `sweep_fixed_uniform"),
        (["--values", "model_type=VICReg", "vicreg.base_l=1"], "did you mean `vicreg.base_lr`?"),
        (["--values", "vicreg.base_lr=1"], "`model_type` = None is not a model"),
        (["--values", "model_type=VICReg", "seed"], "`seed` sets nothing"),
        (["--values", "model_type=VICReg", "vicreg.embedding_size=many"],
         "`model.embedding_size` = many is not allowed"),
        (["--values", "model_type=VICReg", "vicreg.action_dim=3"], "dots move in a plane"),
        (["--values", "model_type=VICReg", "load_checkpoint_path=a.ckpt"],
         "weights of another run"),
        (["--values", "model_type=VICReg", "load_checkpoint_path=a.ckpt", "eval_only=True"],
         "there is no file `a.ckpt`"),
    ],
)  # fmt: skip
def test_a_mistake_exits_with_2_and_writes_nothing(
    words: list[str], message: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert list(workspace.iterdir()) == []


def test_a_file_that_is_no_checkpoint_is_refused_and_not_executed(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (workspace / "executed",)

    words = [*SHORT, "--values", "model_type=VICReg", "load_checkpoint_path=a.ckpt",
             "eval_only=True"]  # fmt: skip
    for content in ({"model_state_dict": Evil()}, {"model_state_dict": []}, [1], "text"):
        torch.save(content, "a.ckpt")
        assert main(words) == 2
        assert "does not hold the weights of this config" in capsys.readouterr().err
        assert [path.name for path in workspace.iterdir()] == ["a.ckpt"]
    Path("a.ckpt").write_bytes(b"")
    assert main(words) == 2


def test_a_path_that_is_no_published_config_names_the_closest(workspace: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        read_configs(["nowhere.yaml"], [])


@pytest.mark.slow
def test_a_sweep_over_noise_draws_the_paper_s_figure(workspace: Path) -> None:
    short = SHORT[1::2]
    words = (*short, "noise=fixed_uniform", "noise_level=0.5,2")
    sweep = api.sweep("jepa/clean", *words, directory="runs/noise", workers=1)
    assert (sweep.directory / "noise_sweep.png").stat().st_size > 10_000
    assert "brightness" in sweep.page.read_text(encoding="utf-8")
