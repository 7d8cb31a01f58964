"""Reads the feedback original's config.json: weft's options and the files to be written.

`eval_interval`, `eval_save_multiple`, `log_interval` and `save_multiple_eval_interval` have no
effect: the original never read them. `model.lora_rank` has none either, since the option of that
name is required.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.config.explain import suggest
from weft.config.layer import leaves, value_at
from weft.config.yaml import is_number, read_file
from weft.errors import ConfigError, UsageError
from weft.families.feedback.options.aliases import ALIASES

IDLE = ("eval_interval", "eval_save_multiple", "log_interval", "save_multiple_eval_interval")
_DATASET = ("name", "config_name", "tokenizer_name", "block_size", "max_seq_length")
_STRAIGHT = ("model.n_layer", "model.n_head", "model.n_embd", "model.dropout",
             "model.feedback_reverse", "diffusion.generation_steps", "diffusion.eps",
             "training.batch_size", "training.learning_rate", "training.warmup_ratio",
             "training.device", "training.compile")  # fmt: skip
_COMPUTED = ("model.lora_rank", "training.decay_lr", "training.min_lr", "training.grad_clip",
             "training.dtype")  # fmt: skip
#: What the original names its files, and when it writes them; keys of `training`.
DEFAULTS: Mapping[str, Any] = {
    "save_best_ckpt": True,
    "save_epoch": True,
    "save_epoch_interval": 10,
    "out_dir": ".out",
    "ff_run_name": "ff_model",
    "fb_run_name": "fb_model",
    "ft_run_name": "ft_model",
    "fb_rec_run_name": "fb_rec_model",
    "log_file_name": "log.txt",
    "csv_file_name": "metrics.csv",
}
_KNOWN = {*_STRAIGHT, *_COMPUTED, *(f"training.{key}" for key in (*DEFAULTS, *IDLE))}
#: Data sets of the original by their names on the Hugging Face hub, and the editions there are.
_SETS = {
    "gsm8k": ("gsm8k", ("main",)),
    "openai/gsm8k": ("gsm8k", ("main",)),
    "wikitext": ("wikitext", ("wikitext-2-raw-v1", "wikitext-2-v1")),
    "Salesforce/wikitext": ("wikitext", ("wikitext-2-raw-v1", "wikitext-2-v1")),
}
_VALIDATED_BATCHES = 50
#: Files of the folder that are weft's.
_TAKEN = ("", "config.json", "config.yaml", "resolved.yaml", "env.json", "status.json",
          "metrics.jsonl", "lock", "model.safetensors", "report.html", "checkpoints", "figures",
          "logs")  # fmt: skip


@dataclass
class OldConfig:
    """A config.json, read for one of its data sets.

    Attributes:
        path: the file.
        dataset: name of the active data set.
        values: weft's option -> value.
        origins: weft's option -> its place in the file, for error messages.
        notes: remarks to the user.
    """

    path: Path
    dataset: str
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ConfigError for unknown keys and invalid values, UsageError for the data set."""
        tree, self._lines = read_file(self.path)
        self._old = {".".join(leaf): value_at(tree, leaf) for leaf in leaves(tree)}
        self._check_keys(tree.get("datasets"))
        self._check_settings()
        for key in _STRAIGHT:
            if key in self._old:
                new, convert = ALIASES.get(key, (key, lambda value: value))
                self._put(new, convert(self._old[key]), key)
        self._put_dataset()
        self._put_training()

    @property
    def home(self) -> Path:
        """The folder with the runs on the data set."""
        return Path(self.setting("out_dir")) / self.dataset

    def setting(self, key: str) -> Any:
        """The value of `training.<key>`, by default that of the original's config.json."""
        return self._old.get(f"training.{key}", DEFAULTS[key])

    def _check_settings(self) -> None:
        for key, default in DEFAULTS.items():
            value = self.setting(key)
            if type(value) is not type(default) or (type(value) is int and value < 1):
                kind = {bool: "true or false", int: "a whole number above 0", str: "text"}
                raise self._refuse(f"training.{key}", kind[type(default)])
            if key.endswith("_name") and (value != Path(value).name or value in _TAKEN):
                raise self._refuse(f"training.{key}", "a name of its own, without a folder")
        if self.setting("csv_file_name") in ("log.txt", self.setting("log_file_name")):
            raise self._refuse("training.csv_file_name", "another name than the log's")

    def _check_keys(self, datasets: Any) -> None:
        names = list(datasets) if isinstance(datasets, Mapping) else []
        if self.dataset not in names:
            raise UsageError(
                f"`{self.dataset}` is not among the `datasets` of {self.path}",
                expected=f"one of {', '.join(names)}" if names else "a file with `datasets`",
                hint=suggest(self.dataset, names, ""),
            )
        if self.dataset != Path(self.dataset).name:
            raise UsageError(
                f"`{self.dataset}` cannot name files",
                expected="a key of `datasets` without a folder",
            )
        known = _KNOWN | {f"datasets.{name}.{key}" for name in names for key in _DATASET}
        known |= {"training.epochs"} | {f"training.epochs.{name}" for name in names}
        problems = [
            ConfigError(
                f"unknown key `{key}`",
                where=self._where(key),
                hint=suggest(key, sorted(known), "the README of the scripts lists every key"),
            )
            for key in self._old
            if key not in known
        ]
        if problems:
            raise ConfigError(list(problems))
        idle = ", ".join(key for key in IDLE if f"training.{key}" in self._old)
        if idle:
            self.notes.append(f"{idle}: no effect, the original never read them")

    def _put_dataset(self) -> None:
        at = f"datasets.{self.dataset}."
        name = self._old.get(f"{at}name", self.dataset)
        name, editions = _SETS.get(str(name), (name, ()))
        self._put("data.dataset", name, f"{at}name")
        edition = self._old.get(f"{at}config_name")
        if edition is not None and edition not in editions:
            raise self._refuse(f"{at}config_name", " or ".join((*editions, "null")))
        if edition == "wikitext-2-raw-v1":
            self.notes.append("weft's WikiText-2 is the edition with <unk>, not the raw one")
        for old, new in (
            ("tokenizer_name", "data.tokenizer"),
            ("block_size", "data.block_size"),
            ("max_seq_length", "model.max_seq_length"),
        ):
            if at + old in self._old:
                self._put(new, self._old[at + old], at + old)

    def _put_training(self) -> None:
        old = self._old
        self._put_epochs()
        self._put_schedule()
        if "training.dtype" in old:
            key, convert = ALIASES["training.dtype"]
            if convert(old["training.dtype"]) == old["training.dtype"]:
                raise self._refuse("training.dtype", "bfloat16 or float32")
            self._put(key, convert(old["training.dtype"]), "training.dtype")
        if "training.grad_clip" in old:
            # 0 means no clipping, as usual in such scripts.
            bound = old["training.grad_clip"] or None
            self._put("clip.kind", "none" if bound is None else "norm", "training.grad_clip")
            if bound is not None:
                self._put("clip.max_norm", bound, "training.grad_clip")
        size = old.get("training.batch_size")
        if isinstance(size, int):
            self._put("eval.batch_size", size, "training.batch_size")
            self._put("eval.chunks", _VALIDATED_BATCHES * size, "training.batch_size")
        interval = self.setting("save_epoch_interval")
        kept = f"{interval} epochs" if self.setting("save_epoch") else None
        self._put("checkpoint.keep_every", kept, "training.save_epoch_interval")

    def _put_epochs(self) -> None:
        key = f"training.epochs.{self.dataset}"
        if "training.epochs" in self._old:
            key = "training.epochs"
        elif key not in self._old:
            raise ConfigError(
                f"`training.epochs` does not say how many for `{self.dataset}`",
                where=str(self.path),
                expected="a number, or one for each data set",
            )
        self._put("epochs", self._old[key], key)

    def _put_schedule(self) -> None:
        decays = self._old.get("training.decay_lr", True)
        if not isinstance(decays, bool):
            raise self._refuse("training.decay_lr", "true or false")
        key, convert = ALIASES["training.decay_lr"]
        self._put(key, convert(decays), "training.decay_lr")
        if not decays:
            self.values.pop("schedule.warmup", None)
        elif "training.min_lr" in self._old:
            floor, peak = self._old["training.min_lr"], self._old.get("training.learning_rate")
            if not is_number(floor) or not is_number(peak) or not 0 <= floor <= peak or not peak:
                raise self._refuse("training.min_lr", "a number from 0 to training.learning_rate")
            # 3e-5 / 3e-4 is 0.09999999999999999.
            self._put("schedule.min_lr", round(floor / peak, 12), "training.min_lr")

    def _put(self, key: str, value: Any, source: str) -> None:
        self.values[key], self.origins[key] = value, self._where(source)

    def _where(self, key: str) -> str:
        line = self._lines.get(tuple(key.split(".")))
        return f"{self.path}:{line}" if line else str(self.path)

    def _refuse(self, key: str, expected: str) -> ConfigError:
        message = f"`{key}` = {self._old.get(key)} is not allowed"
        return ConfigError(message, where=self._where(key), expected=expected)
