"""The original's configs: their defaults, and their translation to weft's options."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from weft.errors import ConfigError, WeftError
from weft.families.jepa.options.aliases import ALIASES, OBJECTIVES

Flat = dict[str, Any]
"""Dotted key -> value."""

_SHARED = {"projector": "512-512-512", "random_projector": False, "backbone_mlp": None,
           "decoding_coeff": 0.0, "action_coeff": 0.0, "epochs": 100, "base_lr": 0.2,
           "embedding_size": 64, "action_dim": 2, "rnn_layers": 1, "rnn_burnin": 1,
           "backbone_width_factor": 1, "channels": 1}  # fmt: skip

DEFAULTS: Mapping[str, Any] = {
    "model_type": None,
    "n_steps": 17,
    "val_n_steps": 17,
    "dataset_size": 10000,
    "val_dataset_size": 10000,
    "dataset_batch_size": 128,
    "dataset_noise": 0.0,
    "dataset_static_noise": 0.0,
    "dataset_static_noise_speed": 0.0,
    "dataset_structured_noise": False,
    "dataset_structured_noise_path": None,
    "dataset_dot_std": 1.3,
    "dataset_normalize": False,
    "dataset_type": "Single",
    "seed": 42,
    "wandb": None,
    "run_name": None,
    "run_group": None,
    "output_path": None,
    "safe_every_n_epochs": 10,
    "eval_mpcs": 20,
    "quick_debug": False,
    "load_checkpoint_path": None,
    "eval_only": False,
    "eval_at_the_end_only": False,
    "probe_mpc": False,
    "vicreg": _SHARED
    | {"arch": "resnet18", "predictor": "515-512-512", "sim_coeff": 25.0, "std_coeff": 25.0,
       "cov_coeff": 1.0, "encoding_std_coeff": 0.0, "encoding_cov_coeff": 0.0,
       "prediction_diff_coeff": 0.0, "repr_loss_after_projector": True,
       "skip_first_step_vc": False},
    "simclr": _SHARED
    | {"arch": "menet5", "predictor": "rnn", "normalize_z": False, "loss_temp": 1.0},
    "rssm": {"arch": "resnet18", "backbone_width_factor": 1, "action_coeff": 0.0, "epochs": 100,
             "learning_rate": 1e-3, "embedding_size": 64, "action_dim": 2, "min_var": 0.1,
             "rssm_adam_epsilon": 1e-8, "log_recontructed_image": True, "channels": 1,
             "rnn_burnin": 1},
    "probing_cfg": {"full_finetune": False, "lr": 1e-3, "epochs": 3, "epochs_enc": 3,
                    "schedule": None, "prober_arch": "", "batch_size": None},
}  # fmt: skip
"""The original's options and defaults, except that W&B is off by default."""

WARMUP_EPOCHS = 10

# Keys that do not affect results, that the original never read, or that `translate` reads itself.
_SPECIAL = frozenset(
    {
        "safe_every_n_epochs", "quick_debug", "load_checkpoint_path", "eval_only",
        "eval_at_the_end_only", "probing_cfg.full_finetune", "probing_cfg.schedule",
        "vicreg.prediction_diff_coeff", "rssm.log_recontructed_image",
        *(f"{section}.action_dim" for section in OBJECTIVES.values()),
    }
)  # fmt: skip


def translate(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """A config of the original, nested or dotted, as a nested config of weft.

    Missing keys have the original's defaults. Three of its settings are objectives in weft: VICReg
    with an action loss only is `idm`; `eval_only` with `full_finetune` is `supervised`; `eval_only`
    alone is `random`.

    Args:
        values: the original's keys, such as `{"model_type": "VICReg", "vicreg": {...}}`.
        where: the place named in errors.
    Raises:
        ConfigError: for keys that the original does not have, and for unsupported values.
    """
    given, known = flat(values), flat(DEFAULTS)
    problems: list[WeftError] = [_unknown(key, known, where) for key in given if key not in known]
    old = known | given
    problems += [
        ConfigError(f"`{key}` = {old[key]}", where=where, expected="2: dots move in a plane")
        for key in known
        if key.endswith(".action_dim") and old[key] != 2
    ]
    if old["model_type"] not in OBJECTIVES:
        problems.append(
            ConfigError(
                f"`model_type` = {old['model_type']} is not a model",
                where=where,
                expected=f"one of {', '.join(OBJECTIVES)}",
            )
        )
    if problems:
        raise ConfigError(problems)
    section = OBJECTIVES[old["model_type"]]
    new: Flat = {"family": "jepa"}
    for key, value in old.items():
        head, _, leaf = key.rpartition(".")
        foreign = head in OBJECTIVES.values() and head != section
        if foreign or key in _SPECIAL or (value is None and leaf != "backbone_mlp"):
            continue
        name, convert = ALIASES.get(key, (key, lambda same: same))
        new |= flat(convert(value), name)
    return nested(new | _method(old, section) | _occasions(old, section))


def _method(old: Flat, section: str) -> Flat:
    """Objective, optimiser and schedule."""
    epochs = old[f"{section}.epochs"]
    if old["eval_only"] and old["probing_cfg.full_finetune"]:
        lr, epochs = old["probing_cfg.lr"], old["probing_cfg.epochs"]
        return {
            "objective": "supervised",
            "supervised.backgrounds": "test",
            "supervised.tune_encoder": True,
            "epochs": epochs,
            "batch_size": old["probing_cfg.batch_size"] or old["dataset_batch_size"],
            "optim": {"kind": "adam", "lr": lr},
            "schedule": {"kind": "constant"},
        }
    if old["eval_only"]:
        return {"objective": "random", "steps": 1, "epochs": None}
    if section == "rssm":
        return {
            "rssm.compat": True,
            "schedule": {"kind": "constant"},
            "clip": {"kind": "norm", "max_norm": 1000.0},
        }
    new: Flat = {"schedule": {"kind": "clean"}}
    if old[f"{section}.projector"] != "id":
        new["model.project_each_frame"] = True
    if old[f"{section}.decoding_coeff"] > 0:
        new["model.decoder"] = "published"
    if epochs > WARMUP_EPOCHS:
        # The original divides by zero in shorter runs; here they get the clean schedule.
        shares = {"warmup": WARMUP_EPOCHS / epochs, "start": 1 / epochs}
        new["schedule"] = {"kind": "published", **shares}
    if section == "vicreg" and _reads_back_actions_only(old):
        action = {"objective": "idm", "idm.action_coeff": old["vicreg.action_coeff"]}
        return action | new
    return new


def _reads_back_actions_only(old: Flat) -> bool:
    others = ("sim", "std", "cov", "encoding_std", "encoding_cov", "decoding")
    return old["vicreg.action_coeff"] > 0 and not any(old[f"vicreg.{o}_coeff"] for o in others)


def _occasions(old: Flat, section: str) -> Flat:
    """When to evaluate and save, and the brightness of backgrounds, as in the original."""
    supervised = old["eval_only"] and old["probing_cfg.full_finetune"]
    epochs = old["probing_cfg.epochs"] if supervised else old[f"{section}.epochs"]
    every = f"{epochs if old['eval_at_the_end_only'] or supervised else 20} epochs"
    saved = f"{old['safe_every_n_epochs']} epochs"
    new: Flat = {"noise_scale": "batch", "eval.every": every, "checkpoint.every": saved,
                 "checkpoint.keep_every": every}  # fmt: skip
    return new | (_quick(old["dataset_batch_size"]) if old["quick_debug"] else {})


def _quick(few: int) -> Flat:
    """Changes for one training step and a probe fitted to one batch of `few` sequences."""
    return {"steps": 1, "epochs": None, "norm_batches": 1, "val_dataset_size": few,
            "probe.size": few, "probe.epochs": 1}  # fmt: skip


def over(given: Mapping[str, Any], batch_size: int, epochs: float | None) -> Flat:
    """The original's keys as changes to a config of weft, such as an exported preset.

    Unlike in `translate`, missing keys keep their values. Keys of weft are passed on.

    Args:
        given: the original's or weft's dotted keys.
        batch_size, epochs: of the config that is changed.
    """
    batch_size = given.get("dataset_batch_size", batch_size)
    new: Flat = {}
    for key, value in given.items():
        if key not in _SPECIAL:
            name, convert = ALIASES.get(key, (key, lambda same: same))
            new |= flat(convert(value), name)
    if given.get("eval_only"):
        if given.get("probing_cfg.full_finetune"):
            epochs = given.get("probing_cfg.epochs", epochs)
            new |= {"objective": "supervised", "supervised.backgrounds": "test",
                    "supervised.tune_encoder": True, "epochs": epochs, "optim.kind": "adam",
                    "schedule.kind": "constant"}  # fmt: skip
            if "probing_cfg.lr" in given:
                new["optim.lr"] = given["probing_cfg.lr"]
        else:
            new |= {"objective": "random", "steps": 1, "epochs": None}
    if "safe_every_n_epochs" in given:
        new["checkpoint.every"] = f"{given['safe_every_n_epochs']} epochs"
    if "eval_at_the_end_only" in given:
        last = epochs if given["eval_at_the_end_only"] else None
        new |= dict.fromkeys(("eval.every", "checkpoint.keep_every"), f"{last or 20:g} epochs")
    return new | (_quick(batch_size) if given.get("quick_debug") else {})


def _unknown(key: str, known: Flat, where: str) -> ConfigError:
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else "docs/jepa-walkthrough.md lists the keys"
    return ConfigError(f"the original has no key `{key}`", where=where, hint=hint)


def flat(values: Any, prefix: str = "") -> Flat:
    """Nested mappings as one mapping of dotted keys."""
    if not isinstance(values, Mapping):
        return {prefix: values}
    below = f"{prefix}." if prefix else ""
    return {
        key: leaf
        for name, value in values.items()
        for key, leaf in flat(value, below + name).items()
    }


def nested(values: Flat) -> dict[str, Any]:
    """Dotted keys as nested mappings; a key whose value is a mapping replaces all keys below it."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = dict(value) if isinstance(value, Mapping) else value
    return tree
