"""The original's keys and flags as weft's options: old key -> (option, conversion of the value)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_DTYPES = {"bfloat16": "bf16", "float32": "fp32"}


def _same(value: Any) -> Any:
    return value


def _reverse(reverse: Any) -> Any:
    """The original's config.json leaves it null."""
    return True if reverse is None else reverse


def _decay(decays: Any) -> Any:
    return {True: "warmup_cosine", False: "constant"}.get(decays, decays)


def _precision(dtype: Any) -> Any:
    return _DTYPES.get(dtype, dtype)


def _epochs(count: Any) -> str:
    return f"{count} epochs"


#: Keys of config.json that belong to a data set or name a folder; the scripts convert them.
ALIASES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "active_dataset": ("data.dataset", _same),
    "model.lora_rank": ("lora_rank", _same),
    "model.feedback_reverse": ("feedback_reverse", _reverse),
    "training.batch_size": ("batch_size", _same),
    "training.learning_rate": ("optim.lr", _same),
    "training.decay_lr": ("schedule.kind", _decay),
    "training.warmup_ratio": ("schedule.warmup", _same),
    "training.grad_clip": ("clip.max_norm", _same),
    "training.device": ("engine.device", _same),
    "training.dtype": ("engine.precision", _precision),
    "training.compile": ("engine.compile", _same),
    "training.save_epoch_interval": ("checkpoint.keep_every", _epochs),
}
