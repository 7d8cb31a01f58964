"""What of a config, under dotted names, makes a run the one it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# What may differ between repeats of one setting: none of it changes what is learnt.
_FREE = frozenset({"seed", "run", "log", "checkpoint", "eval", "data.root", "data.download"})
_FREE_ENGINE = frozenset(
    {
        "device",
        "threads",
        "compile",
        "graph",
        "accumulation",
        "shard",
        "nonfinite",
        "max_skips",
        "timeout",
    }
)


def essential(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a dotted config changes what is learnt, but for the seed."""
    return {
        key: value
        for key, value in config.items()
        if key not in _FREE
        and key.partition(".")[0] not in _FREE
        and not (key.startswith("engine.") and key.removeprefix("engine.") in _FREE_ENGINE)
    }


def same_setting(config: Mapping[str, Any]) -> str:
    """The essential part of a dotted config as text to group by."""
    return json.dumps(essential(config), sort_keys=True, default=str)
