"""The original's keys as keys of weft: old name -> (new key, old value -> new value)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

DATASETS = {
    "mnist_fashion": "fashion-mnist",
    "cifar": "cifar10",
    "dynamics": "lorenz",
    "lorentz": "lorenz",
    "traffic": "pems08",
}
"""The original's words for data sets that weft names otherwise."""


def _same(value: Any) -> Any:
    return value


def _choice(yes: Any, no: Any) -> Callable[[Any], Any]:
    """A flag that became a choice; what is neither true nor false is left for the config."""

    def chosen(value: Any) -> Any:
        flag = as_flag(value)
        return (yes if flag else no) if isinstance(flag, bool) else value

    return chosen


def as_flag(value: Any) -> Any:
    """True or False, quoted or not, as such; anything else as it is."""
    quoted = value.strip().lower() if isinstance(value, str) else ""
    return {"true": True, "false": False}.get(quoted, value)


def _dataset(name: Any) -> Any:
    return DATASETS.get(name, name) if isinstance(name, str) else name


def _datasets(names: Any) -> Any:
    return [_dataset(name) for name in names] if isinstance(names, list | tuple) else names


def _epochs(count: Any) -> Any:
    """A number of epochs as a cadence."""
    return f"{count} epochs" if isinstance(count, int) else count


def _kind(name: Any) -> dict[str, Any]:
    return {"kind": name}


ALIASES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    # The README's 32 that are not keys of the same name.
    "dataset": ("data.dataset", _dataset),
    "data_folder": ("data.root", _same),
    "full_matrix_A": ("transition", _choice("full", "diag")),
    "mean_tanh_activation": ("root_final_activation", _choice("tanh", None)),
    "init_lr": ("optim.lr", _same),
    "nb_epochs": ("epochs", _same),
    "print_every": ("log.every", _same),
    "use_mse_loss": ("loss", _choice("mse", "nll")),
    "resolution": ("data.resolution", _same),
    "mini_res_mnist": ("data.downsample_factor", _same),
    "image_datasets": ("data.image_datasets", _datasets),
    # Later ones.
    "data_path": ("data.root", _same),
    "downsample_factor": ("data.downsample_factor", _same),
    "normalize": ("data.normalize", _same),
    "sequence_length": ("data.sequence_length", _same),
    "data_dim": ("data.data_dim", _same),
    "inference_start": ("grounding_length", _same),
    "gradients_lim": ("gradient_lim", _same),
    "optimizer": ("optim", _kind),
    "valid_every": ("eval.every", _epochs),
    "save_every": ("checkpoint.every", _epochs),
    "on_plateau.factor": ("schedule.factor", _same),
    "on_plateau.patience": ("schedule.patience", _same),
    "on_plateau.rtol": ("schedule.rtol", _same),
    "on_plateau.accum_size": ("schedule.window", _same),
    "on_plateau.cooldown": ("schedule.cooldown", _same),
    "on_plateau.min_scale": ("schedule.min_lr", _same),
}
