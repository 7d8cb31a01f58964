"""Flags of the original's README as weft's options: flag -> (option, conversion of the value)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _same(value: Any) -> Any:
    return value


def _choice(yes: str, no: str) -> Callable[[Any], Any]:
    """The conversion of a boolean flag to a choice; other values pass, for the config to refuse."""
    return lambda value: (yes if value else no) if isinstance(value, bool) else value


def _order(degree: Any) -> Any:
    """The order of the cascade whose kernel has the polynomial degree `degree`."""
    return degree + 1 if isinstance(degree, int) and not isinstance(degree, bool) else degree


def _steps(count: Any) -> str:
    return f"{count} steps"


ALIASES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "ssm_degree": ("order", _order),
    "delay_factor": ("delay", _same),
    "training_steps": ("steps", _same),
    "cnn": ("arch", _choice("cnn", "mlp")),
    "e_trace_impulse": ("kernel", _choice("ideal", "cascade")),
    "sideways": ("kernel", _choice("sideways", "cascade")),
    "grad_impulse": ("error", _choice("impulse", "smeared")),
    "dataset": ("data.dataset", _same),
    "n_groups": ("data.n_groups", _same),
    "interp_factor": ("data.interp_factor", _same),
    "sorted": ("data.ordered", _same),
    "use_val": ("data.use_val", _same),
    "adam": ("optim.kind", _choice("adamw", "sgd")),
    "lr": ("optim.lr", _same),
    "weight_decay": ("optim.weight_decay", _same),
    "warmup": ("schedule.warmup", _same),
    "min_lr": ("schedule.min_lr", _same),
    "val_steps": ("eval.every", _steps),
    "val_batch": ("eval.batch_size", _same),
    "run_name": ("run.name", _same),
    "wandb_project": ("log.wandb.project", _same),
    "wandb_mode": ("log.wandb.mode", _same),
    "cpu": ("engine.device", _choice("cpu", "auto")),
}
