"""warp's original README as written: edit the config, run the script, and the backup to infer."""

from __future__ import annotations

import runpy
import shutil
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import weft
from weft import api
from weft.config.yaml import read_file
from weft.engine.checkpoint import Store
from weft.papers.warp import train as warp_train
from weft.papers.warp.layout import OriginalLayout
from weft.papers.warp.train import main
from weft.papers.warp.words import check_flags
from weft.run.directory import RunDirectory

PAPER = Path(__file__).parents[3] / "papers" / "warp"
SHORT = [
    word
    for pair in ("steps=4", "batch_size=8", "data.train_size=40", "data.test_size=8",
                 "mlp_hidden_size=3", "mlp_depth=1", "mini_res_mnist=2", "grounding_length=4",
                 "log.every=1", "log.tensorboard=false", "checkpoint.every=1 steps",
                 "eval.every=2 steps", "eval.batch_size=8")
    for word in ("--set", pair)
]  # fmt: skip
TABLES = """
    seed train dataset data_folder supervision_task mlp_hidden_size mlp_depth rnn_inner_dims
    full_matrix_A use_theta_prev weights_lim mean_tanh_activation std_additional_tanh
    include_canonical_coords init_lr gradient_lim lr_decrease_factor nb_epochs batch_size
    print_every unit_normalise grounding_length autoregressive_inference traj_train_prop
    nb_recons_loss_steps train_strategy use_mse_loss forcing_prob std_lower_bound resolution
    mini_res_mnist image_datasets
"""
README = set(TABLES.split())


@pytest.fixture
def folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script's folder, as a user has it."""
    for file in PAPER.iterdir():
        if file.is_file():
            shutil.copy(file, workspace)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return workspace


def the_run() -> Path:
    (run,) = Path("runs/digits").iterdir()
    return run


def edit(key: str, value: str) -> None:
    """Sets a key in config.yaml as a user would."""
    path = Path("config.yaml")
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(f"{key}: {value}" if line.startswith(f"{key}:") else line for line in lines)
    )


def test_the_config_holds_the_readme_s_32_parameters() -> None:
    values, _ = read_file(PAPER / "config.yaml")
    assert len(README) == 32
    assert set(values) == {"family", "schedule"} | README
    assert len((PAPER / "train.py").read_text().splitlines()) <= 5


def test_the_script_leaves_what_the_original_did(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(SHORT) == 0
    run = the_run()
    assert str(run) in capsys.readouterr().out
    training = (run / "training.log").read_text()
    assert training.startswith("step 1  train/loss")
    assert "val/mse" in training
    assert "test/mse" in (run / "testing.log").read_text()
    with np.load(run / "losses.npz") as curves:
        assert curves["train/loss"].shape == curves["opt/lr"].shape == (4,)
        assert curves["val/mse:step"].tolist() == [2, 4]
    assert list(run.glob("checkpoints/*.pt"))
    assert list(run.glob("figures/*.png"))
    assert (run / "backup" / "train.py").read_text() == (PAPER / "train.py").read_text()
    config, _ = read_file(run / "config.yaml")
    assert config["seed"] == 2024
    assert config["schedule"]["factor"] == 0.5
    assert config["clip"] == {"kind": "value", "limit": 0.01}

    # The best weights are models by themselves, those on validation the run's own.
    best, own = weft.load(run / "best_valid.safetensors"), weft.load(run)
    for name, tensor in own.state_dict().items():
        assert torch.equal(best.state_dict()[name], tensor)
    weft.load(run / "best_train.safetensors")

    # `train: False` takes the newest run, and draws it again.
    tested = (run / "testing.log").read_text()
    edit("train", "False")
    drawn: list[Path] = []
    monkeypatch.setattr(api, "sample", drawn.append)
    monkeypatch.setattr(api, "report", drawn.append)
    capsys.readouterr()
    assert main([]) == 0
    assert drawn == [run, run]
    assert "as it was trained: `steps` is 4, not None" in capsys.readouterr().err
    again = (run / "testing.log").read_text()
    assert again.startswith(tested)
    line = next(line for line in tested.splitlines() if line.startswith("test/mse"))
    assert again.count(line) == 2


def test_the_backup_is_what_ran_and_evaluates_its_run_wherever_it_lies(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    without_pictures: None,
) -> None:
    assert main(SHORT) == 0
    shutil.move(str(the_run()), "elsewhere")
    tested = Path("elsewhere/testing.log").read_text()
    line = next(line for line in tested.splitlines() if line.startswith("test/mse"))
    monkeypatch.chdir("elsewhere/backup")
    # The backup is what ran, `--set` included, in the words of whoever wrote it.
    values = read_file(Path("config.yaml"))[0]
    assert values["train"] is False and values["mini_res_mnist"] == 2 and values["steps"] == 4
    assert values["data"]["train_size"] == 40 and "nb_epochs" not in values
    assert main([]) == 0
    assert Path("../testing.log").read_text().count(line) == 2
    assert not Path("runs").exists()

    # Edited it is refused, and says in what it differs.
    edit("forcing_prob", "0.25")
    edit("mini_res_mnist", "1")
    capsys.readouterr()
    assert main([]) == 2
    told = capsys.readouterr().err
    assert "`forcing_prob` is 0.5, not 0.25" in told and "`mini_res_mnist` is 2, not 1" in told
    assert Path("../testing.log").read_text().count(line) == 2


def test_the_weights_best_on_the_training_loss_are_those_after_its_lowest_stretch(
    folder: Path,
) -> None:
    directory = RunDirectory(folder / "run")
    directory.path.mkdir()
    directory.write_yaml("config", {"family": "warp"})
    layout, store = OriginalLayout(directory, "family: warp"), Store(directory.checkpoints)
    # Two logged losses before each checkpoint; the second pair is the lowest, not its last loss.
    for step, loss in enumerate([9.0, 0.5, 2.0, 1.0, 5.0, 0.4], start=1):
        layout.on_row(step, {"train/loss": loss})
        if step % 2 == 0:
            progress = {"best_step": 6 if step == 6 else None}
            weight = torch.full((2,), float(step))
            store.save({"model": {"weight": weight}, "progress": progress}, step)
    directory.metrics.write_text("")
    layout._judge()
    saved = load_file(directory.path / "best_train.safetensors")
    assert torch.equal(saved["weight"], torch.full((2,), 4.0))


def test_the_script_goes_to_the_package(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv[1:] = ["--config", "none.yaml"]
    with pytest.raises(SystemExit) as ended:
        runpy.run_path("train.py", run_name="__main__")
    assert ended.value.code == 2
    assert "there is no file `none.yaml`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "none.yaml"], "there is no file `none.yaml`"),
        (["--set", "mlp_hiden_size=3"], "did you mean `mlp_hidden_size`?"),
        (["--set", "stochastic=true", "--set", "use_mse_loss=true"], "set `loss` to nll"),
        (["--set", "train=False"], "there is no finished run to evaluate"),
        (["--set", "train=False", "--set", "grounding_length=9"], "as it was trained"),
    ],
)
def test_a_mistake_exits_with_2_and_writes_nothing(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("resolution", "[0, 5]", "`resolution` = [0, 5]"),
        ("resolution", "32", "`resolution` = 32"),
        ("image_datasets", "[foo]", "there is no data set `foo`"),
        ("init_lr", ".inf", "`init_lr` = inf"),
        ("gradient_lim", ".inf", "`gradient_lim` = inf"),
        ("weights_lim", ".inf", "`weights_lim` = inf"),
        ("std_lower_bound", ".nan", "`std_lower_bound` = nan"),
        ("lr_decrease_factor", "2", "`lr_decrease_factor` = 2"),
        ("nb_epochs", "-1", "`nb_epochs` = -1"),
        ("mini_res_mnist", "0", "`mini_res_mnist` = 0"),
        ("mini_res_mnist", "9", "two steps or more"),
        ("mini_res_mnist", "2", "24 true steps are given"),
        ("traj_train_prop", "1.0e-9", "leaves none to learn"),
        ("traj_train_prop", "3", "`traj_train_prop` = 3"),
        ("full_matrix_A", "maybe", "`full_matrix_A` = maybe"),
        ("use_mse_loss", "3", "`use_mse_loss` = 3"),
        ("train", "perhaps", "`train` = perhaps"),
    ],
)
def test_a_mistake_is_told_in_the_readme_s_own_words(
    key: str, value: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(key, value)
    assert main([]) == 2
    told = capsys.readouterr().err
    assert message in told and "optim.lr" not in told and "`data." not in told
    assert not Path("runs").exists()


@pytest.mark.parametrize("quoted", ["'False'", '"false"'])
def test_a_quoted_false_is_not_true(quoted: str, folder: Path) -> None:
    for key in ("full_matrix_A", "use_mse_loss", "mean_tanh_activation", "use_theta_prev"):
        edit(key, quoted)
    config = warp_train._config(Path("config.yaml"), ())
    assert (config.transition, config.loss) == ("diag", "nll")
    assert config.root_final_activation is None and not config.use_theta_prev
    edit("train", quoted)
    assert check_flags(Path("config.yaml"), [])["train"] is False


def test_a_config_of_another_family_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.yaml").write_text("family: cet\nsteps: 1\n")
    assert main([]) == 2
    assert "configures the family `cet`" in capsys.readouterr().err


def test_run_dir_names_the_folder_and_is_never_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str], without_pictures: None
) -> None:
    words = [*SHORT, "--set", "run.dir=mine"]
    assert main(words) == 0
    tested = Path("mine/testing.log").read_text()
    assert main(words) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["--set", "run.dir=mine", "--set", "train=False"]) == 0
    assert Path("mine/testing.log").read_text().startswith(tested)


def test_runs_of_one_second_get_folders_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, without_pictures: None
) -> None:
    class Still(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2025, 4, 30, 12, 0, 1)

    monkeypatch.setattr(warp_train, "datetime", Still)
    assert main(SHORT) == main(SHORT) == 0
    assert sorted(p.name for p in Path("runs/digits").iterdir()) == [
        "250430-120001", "250430-120001-2",
    ]  # fmt: skip
