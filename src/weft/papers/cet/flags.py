"""Flags that both scripts of the CET paper share, and the config keys that they set."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from weft.errors import UsageError
from weft.papers import script

KEYS = {
    "batch_size": "batch_size", "hidden_dim": "hidden_dim", "training_steps": "steps",
    "delay_factor": "delay", "order": "order", "ssm_degree": "order", "dataset": "data.dataset",
    "lr": "optim.lr", "weight_decay": "optim.weight_decay", "warmup": "schedule.warmup",
    "min_lr": "schedule.min_lr", "top_quantile": "top_quantile", "threshold": "threshold",
    "binary": "binary", "norm_op": "norm_op", "p_drop": "p_drop", "n_groups": "data.n_groups",
    "interp_factor": "data.interp_factor", "val_batch": "eval.batch_size",
    "val_steps": "eval.every", "sim_every": "sim_every", "seed": "seed",
    "wandb_project": "log.wandb.project", "wandb_mode": "log.wandb.mode",
    "device": "engine.device", "run_name": "run.name", "carry": "carry", "readout": "readout",
    "covariance": "covariance", "effective_batch": "effective_batch",
    "theta_threshold": "theta_threshold", "bn_from": "bn_from", "random_times": "random_times",
    "input_accumulation": "input_accumulation", "gradient_accumulation": "engine.accumulation",
}  # fmt: skip
"""Flag without its dashes -> the config key that gets its value."""


def origins(flags: argparse.Namespace) -> dict[str, str]:
    """Config key -> the flag that sets it, for error messages."""
    given = {name for name in KEYS if getattr(flags, name, None) is not None}
    return {KEYS[name]: f"--{name}" for name in KEYS if name in given}


def to_config(flags: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Config values by key for the flags of both scripts; other options keep the preset's."""
    return {
        "seed": seed,
        "steps": flags.training_steps,
        "batch_size": flags.batch_size,
        "hidden_dim": flags.hidden_dim,
        "delay": flags.delay_factor,
        "order": flags.order or flags.ssm_degree + 1,
        "arch": "cnn" if flags.cnn else "mlp",
        "kernel": _kernel(flags),
        "readout": flags.readout,
        "covariance": flags.covariance,
        "gate": flags.gate,
        "error": "impulse" if flags.grad_impulse else "smeared",
        "threshold": flags.threshold,
        "binary": flags.binary,
        "top_quantile": flags.top_quantile,
        "norm_op": flags.norm_op or "batch",
        "p_drop": flags.p_drop,
        "track_sim": flags.track_sim,
        "sim_every": flags.sim_every,
        "data.dataset": flags.dataset,
        "data.n_groups": flags.n_groups,
        "data.interp_factor": flags.interp_factor,
        "data.ordered": flags.sorted,
        "data.use_val": flags.use_val,
        "optim.kind": "adamw" if flags.adam else "sgd",
        "optim.lr": flags.lr,
        "optim.weight_decay": flags.weight_decay,
        "schedule.warmup": flags.warmup,
        "schedule.min_lr": flags.min_lr,
        "schedule.zero_first": flags.strict,
        "eval.every": f"{flags.val_steps} steps",
        "eval.batch_size": flags.val_batch,
        "log.every": 1,
        "log.tensorboard": False,
        "log.wandb.mode": flags.wandb_mode,
        "log.wandb.project": flags.wandb_project,
        "engine.device": flags.device,
    }


def _kernel(flags: argparse.Namespace) -> str:
    if flags.e_trace_impulse and flags.sideways:
        raise UsageError("--e_trace_impulse and --sideways exclude each other")
    if flags.e_trace_impulse:
        return "ideal"
    return "sideways" if flags.sideways else str(flags.kernel)


def parser(
    name: str, about: str, *, val_steps: int, no_effect: Mapping[str, str]
) -> argparse.ArgumentParser:
    """A parser with the flags of both scripts.

    Args:
        name: of the script.
        about: description of the script for its help.
        val_steps: default number of steps between two evaluations.
        no_effect: flags that are accepted without effect -> the reason.
    """
    found = argparse.ArgumentParser(
        name,
        description=f"{about}; every flag of the original, and a few more. A switch may be given "
        "as --no-SWITCH.",
        epilog="-c, -l and -s are short for --cnn, --lr and --sorted here. The original's README "
        "spells every flag out, so what its own short forms mean is not known.",
        allow_abbrev=False,
    )
    add = found.add_argument

    def switch(*names: str, default: bool = False, **options: Any) -> None:
        add(*names, action=argparse.BooleanOptionalAction, default=default, **options)

    add("--batch_size", "-b", type=int, required=True, help="items per stream")
    add("--hidden_dim", "-d", type=int, default=512, help="hidden units")
    add("--training_steps", "-t", type=int, required=True, help="batches")
    degree = found.add_mutually_exclusive_group(required=True)
    degree.add_argument(
        "--ssm_degree", "-n", type=script.at_least(0), help="order of the cascade minus 1"
    )
    degree.add_argument("--order", type=int, help="stages of the cascade")
    add("--delay_factor", type=int, required=True, help="steps until an error arrives")
    add("--dataset", default="mnist", help="mnist, cifar10, fashion-mnist, digits or an .npz file")
    switch("--cnn", "-c", help="CNN instead of MLP")
    add("--lr", "-l", type=float, default=1e-3)
    add("--weight_decay", type=float, default=1e-3)
    switch("--adam", help="AdamW instead of SGD")
    add("--warmup", type=float, default=0.05, help="share of the steps")
    add("--min_lr", type=float, default=0.1, help="share of the peak")
    switch("--strict", help="the original's first step, with lr 0")
    add("--top_quantile", type=float, default=0.0)
    switch("--sparse_inputs", help=no_effect.get("sparse_inputs"))
    add("--threshold", type=float)
    add("--binary", type=float)
    switch("--e_trace_impulse", help="ideal delay: the oracle")
    switch("--grad_impulse", default=True)
    switch("--sideways", help="trace without delay: the control")
    add("--norm_op", default="batch", help="batch, group, instance, layer or none")
    add("--p_drop", type=float, default=0.0)
    add("--n_groups", type=int, default=1)
    add("--interp_factor", type=int, default=1)
    switch("--sorted", "-s", help="classes in order")
    add("--harmonics", help="no effect, as in the original")
    switch("--use_val")
    add("--val_batch", type=int, default=128)
    add("--val_steps", type=int, default=val_steps)
    switch("--track_sim")
    add("--sim_every", type=int, default=10, help="steps between comparisons")
    add("--save_folder", "-f", required=True)
    add("--run_name", "-r", required=True)
    add("--wandb_project", default="slow_fast_rules")
    add("--wandb_mode", default="offline", choices=("online", "offline", "disabled"))
    add("--cpu", dest="device", action="store_const", const="cpu", default="auto")
    add("--device", help="auto, cpu, cuda, cuda:N or mps")
    add("--seed", type=int, default=0)
    add("--seeds", type=int, default=1, help="runs, with consecutive seeds")
    switch("--resume", help="go on with the run of this name")
    add("--gate", default="auto", choices=("auto", "trace", "both", "error"))
    add("--kernel", default="cascade", choices=("cascade", "ideal", "sideways"))
    add("--readout", default="last", choices=("last", "optimal", "legendre"))
    add("--covariance", type=float, help="weight of the covariance form of the trace")
    script.add_set(found)
    return found
