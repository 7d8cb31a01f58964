"""The retrograde commands of cet's original README run as printed and leave the promised file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import weft
from weft import api
from weft.papers.cet.btsp_experiments import _parser as behavioural_parser
from weft.papers.cet.fixed_sparse import _parser, main, to_config

# The README's two retrograde blocks, tabs and the blank behind a backslash and all.
CIFAR = r"""

 python fixed_sparse.py \
        --batch_size=1280 \
        --effective_batch=1280 \
        --hidden_dim=512 \
        --training_steps=$training_steps \
        --ssm_degree="$degree" \
        --delay_factor="$delay" \
        --save_folder=$folder \
        --run_name="run_name" \
        --n_groups=1 \
        --interp_factor=1 \
        --top_quantile=0.9875 \
        --sparse_inputs \
        --adam \
        --dataset="cifar10" \
        --cnn \
        --wandb_project="wandb_project" \
        --norm_op="batch" \
        --weight_decay="$weight_decay" \
        --p_drop=0.0 \
        --lr="$lr" \
        --min_lr=0.1 \
        --val_steps=3125 \
        --warmup=0.2 \ 
		--track_sim
"""
MNIST = r"""
python fixed_sparse.py \
		--batch_size=1280 \
		--effective_batch=1280 \
		--hidden_dim=512 \
		--training_steps=$training_steps \
		--ssm_degree="$degree" \
		--delay_factor="$delay_factor" \
		--save_folder=$folder \
		--run_name="$run_name" \
		--n_groups=1 \
		--interp_factor=1 \
		--top_quantile=0.9875 \
		--sparse_inputs \
		--adam \
		--dataset="mnist" \
		--wandb_project="wandb_project" \
		--norm_op="$norm" \
		--weight_decay="$weight_decay" \
		--p_drop=0.0 \
		--lr="$lr" \
		--min_lr=0.1 \
		--warmup=0.2 \
		--track_sim
"""
VARIABLES = {
    "training_steps": "4", "degree": "5", "delay": "3", "delay_factor": "3", "folder": "grid",
    "weight_decay": "1e-3", "lr": "1e-3", "norm": "", "run_name": "run_name",
}  # fmt: skip


def arguments(block: str) -> list[str]:
    """The block's words with its variables filled in, as a shell would pass them."""
    for name in sorted(VARIABLES, key=len, reverse=True):
        block = block.replace(f"${name}", VARIABLES[name])
    return shlex.split(block)[2:]


@pytest.mark.parametrize(("block", "layers"), [(MNIST, 2), (CIFAR, 4)])
def test_retrograde_commands_leave_the_promised_file(
    block: str,
    layers: int,
    workspace: Path,
    without_pictures: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The same commands, on the digits that ship with weft and with W&B's network switched off.
    monkeypatch.setenv("WANDB_MODE", "disabled")
    short = ["--dataset=digits", "--val_steps=2", "--sim_every=1", "--set", "hidden_dim=16"]
    words = [word for word in arguments(block) if not word.endswith("batch_size=1280")]
    assert main([*words, "--batch_size=160", *short]) == 0
    result = torch.load("results/grid/run_name.pt", weights_only=True)
    assert len(result["training_losses"]) == len(result["training_accuracies"]) == 4
    assert len(result["validation_losses"]) == len(result["validation_accuracies"]) == 2
    assert len(result["similarities"]) == layers  # the output layer, which is exact, is left out
    [run] = weft.runs("results/grid/runs")
    assert (run.config["timescale"], run.config["delay"]) == ("retrograde", 3)
    assert (run.config["effective_batch"], run.config["sparse_inputs"]) == (1280, False)


BASE = ["--batch_size=40", "--training_steps=6", "--ssm_degree=1", "--delay_factor=2",
        "--save_folder=f", "--run_name=r", "--dataset=digits", "--wandb_mode=disabled",
        "--hidden_dim=8", "--top_quantile=0.5"]  # fmt: skip


def config(*words: str) -> Any:
    values = to_config(_parser().parse_args([*BASE, *words]), 0)
    return api.configure("cet/mnist-retrograde", **values).config


FLAGS = {
    "--effective_batch=7": ("effective_batch", 7),
    "--theta_threshold=0.5": ("theta_threshold", 0.5),
    "--no-grad_impulse": ("error", "smeared"),
    "--input_accumulation=2": ("input_accumulation", 2),
    "--random_times": ("random_times", True),
    "--val_steps=9": ("eval.every", "9 steps"),
    "--adam": ("optim.kind", "adamw"),
    "--no-adam": ("optim.kind", "sgd"),
    "-c": ("arch", "cnn"),
    "--no-cnn": ("arch", "mlp"),
    "-s": ("data.ordered", True),
    "-l=0.5": ("optim.lr", 0.5),
    "-d=9": ("hidden_dim", 9),
    "-t=8": ("steps", 8),
    "--min_lr=0.4": ("schedule.min_lr", 0.4),
    "--covariance=2": ("covariance", 2.0),
    "--readout=legendre": ("readout", "legendre"),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_reaches_its_key(flag: str) -> None:
    key, expected = FLAGS[flag]
    values: object = config(*flag.split("=", 1) if flag[1] != "-" else [flag]).plain()
    for part in key.split("."):
        assert isinstance(values, dict)
        values = values[part]
    assert values == expected


def test_statistics_of_the_full_batch_are_taken_on_demand() -> None:
    assert config("--cnn", "--bn_from=full").bn_from == "full"


def test_batches_that_make_a_step_together_are_streams_of_one() -> None:
    joined = config("--gradient_accumulation=3", "--lr=0.1")
    assert (joined.steps, joined.streams, joined.engine.accumulation) == (2, 3, 3)
    assert (joined.optim.lr, joined.clip.max_norm) == (pytest.approx(0.3), pytest.approx(0.5 / 3))
    assert config("--gradient_accumulation=3", "--lr=0.1", "--adam").optim.lr == 0.1


@pytest.mark.parametrize("flag", ["--sparse_inputs", "--harmonics=3"])
def test_flags_documented_as_no_ops_change_nothing(flag: str) -> None:
    parser = _parser()
    assert to_config(parser.parse_args([*BASE, flag]), 0) == to_config(parser.parse_args(BASE), 0)


def test_both_scripts_have_the_same_short_and_negative_forms() -> None:
    theirs, ours = (
        set(parser._option_string_actions) for parser in (behavioural_parser(), _parser())
    )
    assert theirs - ours == {"--carry", "--no-carry"}
    assert {"-b", "-c", "-d", "-f", "-l", "-n", "-r", "-s", "-t", "--no-adam"} <= theirs


def test_a_mistake_names_the_flag_and_writes_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["--hidden_dim=0"], "--hidden_dim"),
        (["--lr=-1"], "--lr"),
        (["--gradient_accumulation=7"], "--gradient_accumulation"),
        (["--theta_threshold=-1"], "--theta_threshold"),
    ):
        assert main([*BASE, *words]) == 2
        assert said in capsys.readouterr().err
    assert list(workspace.iterdir()) == []
