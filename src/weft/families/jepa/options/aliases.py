"""The original's keys as weft's options: old key -> (option, conversion of the value)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

OBJECTIVES = {"VICReg": "vicreg", "SimCLR": "simclr", "RSSM": "rssm"}
"""`model_type` -> `objective`, which is also the name of its section of options."""

_SHARED = ("arch", "backbone_width_factor", "embedding_size", "channels", "rnn_burnin")
_MODEL_KEYS = {
    "vicreg": (
        *_SHARED, "backbone_mlp", "predictor", "rnn_layers", "projector", "random_projector",
    ),
    "simclr": (
        *_SHARED, "backbone_mlp", "predictor", "rnn_layers", "projector", "random_projector",
    ),
    "rssm": _SHARED,
}  # fmt: skip
_PROBE_KEYS = ("lr", "epochs", "epochs_enc", "prober_arch", "batch_size")


def _same(value: Any) -> Any:
    return value


def _objective(model_type: Any) -> Any:
    return OBJECTIVES.get(model_type, model_type)


def _mode(wandb: Any) -> Any:
    return {True: "online", False: "disabled"}.get(wandb, wandb)


def _lars(base_lr: Any) -> dict[str, Any]:
    return {"kind": "lars", "base_lr": base_lr}


def _adam(lr: Any) -> dict[str, Any]:
    return {"kind": "adam", "lr": lr}


def _adam_eps(eps: Any) -> dict[str, Any]:
    return {"kind": "adam", "eps": eps}


ALIASES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "model_type": ("objective", _objective),
    "dataset_batch_size": ("batch_size", _same),
    "dataset_structured_noise_path": ("data.root", _same),
    "output_path": ("run.dir", _same),
    "run_name": ("run.name", _same),
    "run_group": ("run.tags", lambda group: [group]),
    "wandb": ("log.wandb.mode", _mode),
    "probe_mpc": ("probe.mpc", _same),
    "eval_mpcs": ("probe.mpc_episodes", _same),
    "vicreg.base_lr": ("optim", _lars),
    "simclr.base_lr": ("optim", _lars),
    "rssm.learning_rate": ("optim", _adam),
    "rssm.rssm_adam_epsilon": ("optim", _adam_eps),
    **{f"probing_cfg.{key}": (f"probe.{key}", _same) for key in _PROBE_KEYS},
    **{f"{section}.epochs": ("epochs", _same) for section in _MODEL_KEYS},
    **{
        f"{section}.{key}": (f"model.{key}", _same)
        for section, keys in _MODEL_KEYS.items()
        for key in keys
    },
}
