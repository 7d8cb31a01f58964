"""The command line of the CET paper's `btsp_experiments.py`: behavioural timescales."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weft.errors import UsageError
from weft.papers import script

USAGE = "btsp_experiments.py --batch_size=B --training_steps=N --ssm_degree=D --delay_factor=T ..."


def main(argv: Sequence[str] | None = None) -> int:
    """Trains one run per seed and writes `results/<save_folder>/<run_name>.pt`.

    Returns: the exit code.
    """
    return script.run(_train_all, argv)


def _train_all(words: list[str]) -> None:
    flags = _parser().parse_args(words)
    for seed in range(flags.seed, flags.seed + flags.seeds):
        _train(flags, seed)


def _train(flags: argparse.Namespace, seed: int) -> None:
    from weft import api
    from weft.papers.cet.layout import OriginalLayout

    name = flags.run_name if flags.seeds == 1 else f"{flags.run_name}_seed{seed}"
    results = Path("results") / flags.save_folder
    parameters = {**vars(flags), "seed": seed}
    sinks = [lambda directory: OriginalLayout(results / f"{name}.pt", parameters)]
    if flags.resume:
        run = api.resume(_unfinished(results / "runs" / "cet", name), show=True, sinks=sinks)
    else:
        values = script.overlay(to_config(flags, seed), flags.set)
        values |= {"run.root": str(results / "runs"), "run.name": name}
        with script.told(flags.set):
            run = api.train("cet/mnist", show=True, sinks=sinks, **values)
    if run is not None:
        print(f"{results / f'{name}.pt'}  {run.metrics}")


def to_config(flags: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The flags as config values by key; flags left out keep the preset's."""
    optimiser = "adamw" if flags.adam else "sgd"
    values: dict[str, Any] = {
        "seed": seed,
        "steps": flags.training_steps,
        "batch_size": flags.batch_size,
        "hidden_dim": flags.hidden_dim,
        "delay": flags.delay_factor,
        "order": flags.order or flags.ssm_degree + 1,
        "arch": "cnn" if flags.cnn else "mlp",
        "kernel": _kernel(flags),
        "readout": flags.readout,
        "gate": flags.gate,
        "error": "impulse" if flags.grad_impulse else "smeared",
        "sparse_inputs": flags.sparse_inputs,
        "threshold": flags.threshold,
        "binary": flags.binary,
        "top_quantile": flags.top_quantile,
        "carry": flags.carry,
        "norm_op": flags.norm_op or "batch",
        "p_drop": flags.p_drop,
        "track_sim": flags.track_sim,
        "sim_every": flags.sim_every,
        "data.dataset": flags.dataset,
        "data.n_groups": flags.n_groups,
        "data.interp_factor": flags.interp_factor,
        "data.ordered": flags.sorted,
        "data.use_val": flags.use_val,
        "optim": {"kind": optimiser, "lr": flags.lr, "weight_decay": flags.weight_decay},
        "schedule.warmup": flags.warmup,
        "schedule.min_lr": flags.min_lr,
        "schedule.zero_first": flags.strict,
        "eval.every": f"{flags.val_steps} steps",
        "eval.batch_size": flags.val_batch,
        "log.every": 1,
        "log.tensorboard": False,
        "log.wandb": {"mode": flags.wandb_mode, "project": flags.wandb_project},
        "engine.device": flags.device,
    }
    return values


def _kernel(flags: argparse.Namespace) -> str:
    if flags.e_trace_impulse and flags.sideways:
        raise UsageError("--e_trace_impulse and --sideways exclude each other")
    if flags.e_trace_impulse:
        return "ideal"
    return "sideways" if flags.sideways else str(flags.kernel)


def _unfinished(folder: Path, name: str) -> Path:
    """The newest run of that name that can go on."""
    from weft.run.registry import find_runs

    found = [
        run
        for run in find_runs(folder)
        if run.config.get("run", {}).get("name") == name and run.state != "finished"
    ]
    if not found:
        raise UsageError(
            f"there is no unfinished run `{name}`", where=str(folder), hint="leave --resume out"
        )
    return found[-1].path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        USAGE.partition(" ")[0],
        description="CET on behavioural timescales; every flag of the original, and a few more.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--batch_size", "-b", type=int, required=True, help="items per stream")
    add("--effective_batch", type=int, help="no effect on behavioural timescales")
    add("--hidden_dim", "-d", type=int, default=512, help="hidden units")
    add("--training_steps", "-t", type=int, required=True, help="batches")
    degree = parser.add_mutually_exclusive_group(required=True)
    degree.add_argument("--ssm_degree", "-n", type=_count, help="order of the cascade minus 1")
    degree.add_argument("--order", type=int, help="stages of the cascade")
    add("--delay_factor", type=int, required=True, help="steps until an error arrives")
    add("--dataset", default="mnist", help="mnist, cifar10, fashion-mnist, digits or an .npz file")
    add("--cnn", action="store_true", help="CNN instead of MLP")
    add("--lr", type=float, default=1e-3)
    add("--weight_decay", type=float, default=1e-3)
    add("--adam", action="store_true", help="AdamW instead of SGD")
    add("--warmup", type=float, default=0.05, help="share of the steps")
    add("--min_lr", type=float, default=0.1, help="share of the peak")
    add("--strict", action="store_true", help="the original's first step, with lr 0")
    add("--top_quantile", type=float, default=0.0)
    add("--sparse_inputs", action="store_true")
    add("--threshold", type=float)
    add("--binary", type=float)
    add("--theta_threshold", type=float, default=0.0, help="no effect on behavioural timescales")
    add("--e_trace_impulse", action="store_true", help="ideal delay: the oracle")
    add("--grad_impulse", action=argparse.BooleanOptionalAction, default=True)
    add("--sideways", action="store_true", help="trace without delay: the control")
    add("--norm_op", default="batch", help="batch, group, instance, layer or none")
    add("--p_drop", type=float, default=0.0)
    add("--n_groups", type=int, default=1)
    add("--interp_factor", type=int, default=1)
    add("--sorted", action="store_true", help="classes in order")
    add("--harmonics", help="no effect, as in the original")
    add("--use_val", action="store_true")
    add("--val_batch", type=int, default=128)
    add("--val_steps", type=int, default=390)
    add("--track_sim", action="store_true")
    add("--sim_every", type=int, default=10, help="steps between comparisons")
    add("--save_folder", "-f", required=True)
    add("--run_name", "-r", required=True)
    add("--wandb_project", default="slow_fast_rules")
    add("--wandb_mode", default="offline", choices=("online", "offline", "disabled"))
    add("--cpu", dest="device", action="store_const", const="cpu", default="auto")
    add("--device", help="auto, cpu, cuda, cuda:N or mps")
    add("--seed", type=int, default=0)
    add("--seeds", type=int, default=1, help="runs, with consecutive seeds")
    add("--resume", action="store_true", help="go on with the run of this name")
    add("--gate", default="auto", choices=("auto", "trace", "both", "error"))
    add("--kernel", default="cascade", choices=("cascade", "ideal", "sideways"))
    add("--readout", default="last", choices=("last", "optimal"))
    add("--carry", action="store_true", help="streams go on from batch to batch")
    script.add_set(parser)
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


if __name__ == "__main__":
    sys.exit(main())
