"""The part of a config that distinguishes settings: without seed, logging, paths and the like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Keys that may differ between repeats of a setting: they do not change what is learnt.
_FREE = frozenset({"seed", "run", "log", "checkpoint", "eval", "data.root", "data.download"})
_FREE_ENGINE = frozenset({
    "device", "threads", "compile", "graph", "accumulation", "shard", "nonfinite", "max_skips",
    "timeout",
})  # fmt: skip


def essential(config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a dotted config that change what is learnt, without the seed."""
    return {
        key: value
        for key, value in config.items()
        if key not in _FREE
        and key.partition(".")[0] not in _FREE
        and not (key.startswith("engine.") and key.removeprefix("engine.") in _FREE_ENGINE)
    }


def same_setting(config: Mapping[str, Any]) -> str:
    """A text that is equal for runs of one setting: the essential entries of a dotted config."""
    return json.dumps(essential(config), sort_keys=True, default=str)


def same_value(one: Any, other: Any) -> bool:
    """Whether two values of an option are equal; true is not 1, but 1 is 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
