"""The commands of the original cet README run as printed and leave the files it promises."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

import weft
from weft.papers.cet.btsp_experiments import main

# The README's two behavioural blocks, tabs and all.
CIFAR = r"""
python btsp_experiments.py \
		--batch_size=128 \
		--effective_batch=128 \
		--hidden_dim=512 \
		--training_steps=$training_steps \
		--ssm_degree="$degree" \
		--delay_factor="$delay" \
		--save_folder=$folder \
		--run_name="run_name" \
		--n_groups=1 \
		--interp_factor=1 \
		--top_quantile=0.0 \
		--sparse_inputs \
		--adam \
		--dataset="cifar10" \
		--cnn \
		--wandb_project="btsp_cifar_final_configs" \
		--norm_op="batch" \
		--weight_decay="$weight_decay" \
		--p_drop=0.0 \
		--wandb_mode="online" \
		--warmup=0.1 \
		--track_sim
"""
MNIST = r"""
python btsp_experiments.py \
        --batch_size=128 \
        --effective_batch=128 \
        --hidden_dim=512 \
        --training_steps=$training_steps \
        --ssm_degree="$degree" \
        --delay_factor="$delay" \
        --save_folder=$folder \
        --run_name="run_name" \
        --n_groups=1 \
        --interp_factor=1 \
        --top_quantile=0.0 \
        --sparse_inputs \
        --adam \
        --dataset="mnist" \
        --wandb_project="wandb_project" \
        --weight_decay="$weight_decay" \
        --lr="$lr" \
        --p_drop=0.0 \
        --wandb_mode="online" \
        --warmup=0.1 \
        --track_sim
"""
VARIABLES = {
    "training_steps": "4", "degree": "5", "delay": "3", "folder": "grid", "weight_decay": "1e-3",
    "lr": "1e-3", "norm": "",
}  # fmt: skip


def arguments(block: str) -> list[str]:
    """The block's words with its variables filled in, as a shell would pass them."""
    for name in sorted(VARIABLES, key=len, reverse=True):
        block = block.replace(f"${name}", VARIABLES[name])
    return shlex.split(block)[2:]


@pytest.mark.parametrize(("block", "layers"), [(MNIST, 3), (CIFAR, 5)])
def test_behavioural_commands_leave_the_promised_file(
    block: str,
    layers: int,
    workspace: Path,
    without_pictures: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The same commands, on the digits that ship with weft and with W&B's network switched off.
    monkeypatch.setenv("WANDB_MODE", "disabled")
    short = ["--dataset=digits", "--val_steps=2", "--sim_every=1", "--set", "hidden_dim=16"]
    assert main([*arguments(block), *short]) == 0
    result = torch.load("results/grid/run_name.pt", weights_only=True)
    assert len(result["training_losses"]) == len(result["training_accuracies"]) == 4
    assert len(result["validation_losses"]) == len(result["validation_accuracies"]) == 2
    assert result["steps"] == [2, 4]
    assert len(result["similarities"]) == layers
    assert all(len(values) == 4 for values in result["similarities"].values())
    assert result["run_params"]["ssm_degree"] == 5
    assert result["seed"] == 0
    assert result["wall_time"] > 0
    assert set(result["optimiser_state"]) == {"state", "param_groups"}
    run = Path("results/grid/runs/cet/run_name")
    assert (run / "metrics.jsonl").is_file()
    assert torch.equal(
        next(iter(result["model_state"].values())),
        next(iter(torch.load(run / "checkpoints/step_00000004.pt")["model"].values())),
    )


BASE = ["--batch_size=32", "--training_steps=2", "--ssm_degree=1", "--delay_factor=2",
        "--save_folder=f", "--run_name=r", "--dataset=digits", "--wandb_mode=disabled",
        "--hidden_dim=8"]  # fmt: skip


def test_an_empty_norm_and_a_stray_blank_are_accepted(
    workspace: Path, without_pictures: None
) -> None:
    assert main([*BASE, "--norm_op=", " "]) == 0


def test_set_wins_over_a_flag_and_is_named_where_it_is_wrong(
    workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASE, "--set", "hidden_dim=4", "--set", "optim.lr=0.5"]) == 0
    [run] = weft.runs("results/f/runs")
    assert run.config["hidden_dim"] == 4
    assert (run.config["optim"]["kind"], run.config["optim"]["lr"]) == ("sgd", 0.5)
    assert main([*BASE, "--set", "hiden_dim=4"]) == 2
    assert "unknown key `hiden_dim`   (--set hiden_dim=4)" in capsys.readouterr().err


def test_several_seeds_write_a_file_each(workspace: Path, without_pictures: None) -> None:
    assert main([*BASE, "--seeds=2", "--seed=3"]) == 0
    files = sorted(p.name for p in Path("results/f").glob("*.pt"))
    assert files == ["r_seed3.pt", "r_seed4.pt"]


def test_a_mistake_exits_with_2_and_writes_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASE, "--threshold=0.1", "--binary=0.2"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert main([*BASE, "--ssm_degree=-1"]) == 2
    assert main([*BASE, "--device=cuda:9"]) == 2
    assert main([*BASE, "--resume"]) == 2
    assert list(workspace.iterdir()) == []


# Each flag beside the config key it sets; the values differ from the flag's default.
FLAGS = {
    "--order=4": ("order", 4),
    "--lr=0.5": ("optim.lr", 0.5),
    "--weight_decay=0.25": ("optim.weight_decay", 0.25),
    "--adam": ("optim.kind", "adamw"),
    "--warmup=0.3": ("schedule.warmup", 0.3),
    "--min_lr=0.4": ("schedule.min_lr", 0.4),
    "--strict": ("schedule.zero_first", True),
    "--top_quantile=0.5": ("top_quantile", 0.5),
    "--sparse_inputs": ("sparse_inputs", True),
    "--threshold=0.1": ("threshold", 0.1),
    "--binary=0.1": ("binary", 0.1),
    "--e_trace_impulse": ("kernel", "ideal"),
    "--no-grad_impulse": ("error", "smeared"),
    "--sideways": ("kernel", "sideways"),
    "--cnn": ("arch", "cnn"),
    "--norm_op=group": ("norm_op", "group"),
    "--p_drop=0.5": ("p_drop", 0.5),
    "--n_groups=2": ("data.n_groups", 2),
    "--interp_factor=2": ("data.interp_factor", 2),
    "--sorted": ("data.ordered", True),
    "--use_val": ("data.use_val", True),
    "--val_batch=7": ("eval.batch_size", 7),
    "--val_steps=9": ("eval.every", "9 steps"),
    "--track_sim": ("track_sim", True),
    "--sim_every=3": ("sim_every", 3),
    "--wandb_project=p": ("log.wandb.project", "p"),
    "--wandb_mode=online": ("log.wandb.mode", "online"),
    "--cpu": ("engine.device", "cpu"),
    "--gate=error": ("gate", "error"),
    "--readout=optimal": ("readout", "optimal"),
    "--kernel=ideal": ("kernel", "ideal"),
    "--carry": ("carry", True),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_reaches_its_key(flag: str) -> None:
    from weft import api
    from weft.papers.cet.btsp_experiments import _parser, to_config

    key, expected = FLAGS[flag]
    base = [word for word in BASE if not (flag == "--order=4" and "degree" in word)]
    parsed = _parser().parse_args([*base, flag])
    values: object = api.configure("cet/mnist", **to_config(parsed, 0)).config.plain()
    for part in key.split("."):
        assert isinstance(values, dict)
        values = values[part]
    assert values == expected


@pytest.mark.parametrize("flag", ["--effective_batch=7", "--theta_threshold=0.5", "--harmonics=3"])
def test_flags_documented_as_no_ops_change_nothing(flag: str) -> None:
    from weft.papers.cet.btsp_experiments import _parser, to_config

    parser = _parser()
    assert to_config(parser.parse_args([*BASE, flag]), 0) == to_config(parser.parse_args(BASE), 0)
