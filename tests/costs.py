"""What a run will cost is counted once for all runs of a session that do not differ in it."""

from __future__ import annotations

from torch import nn

from weft.engine.parts import Parts
from weft.engine.profile import Cost, cost

SPARED = {
    "base": True, "checkpoint": True, "clip": True, "epochs": True, "eval": True, "log": True,
    "run": True, "schedule": True, "steps": True,
    "engine": {"device", "nonfinite", "profile", "max_skips", "threads", "timeout"},
    "optim": {"lr", "beta1", "beta2", "eps", "momentum", "weight_decay"},
}  # fmt: skip
"""Options of a run on which no step's shapes depend."""

_known: dict[object, Cost] = {}


def known_cost(parts: Parts, model: nn.Module | None = None) -> Cost:
    """`weft.engine.profile.cost`, or what it gave for another run of the same shapes."""
    options = parts.config.model_dump_json(exclude=SPARED)
    task = type(parts.task)
    code = tuple(getattr(task, part, None) for part in ("model", "draw", "loss"))  # A test's own.
    key = (task, code, options, repr(parts.spec))
    if key not in _known:
        _known[key] = cost(parts, model)
    return _known[key]
