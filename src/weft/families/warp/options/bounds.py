"""Short names of the original's bounds: what `gradient_lim` and `lr_decrease_factor` set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from weft.config.rule import Rule
from weft.config.section import KindConfig
from weft.config.sections import Plateau, ValueClip


def spelt_out(values: Any, default_clip: KindConfig) -> Any:
    """Raw options with `gradient_lim` in `clip` and `lr_decrease_factor` in a schedule that reacts.

    An option that says otherwise is left as it is, for the rules of the config to find.

    Args:
        values: what a config is made of, not yet checked.
        default_clip: the clip of a config that names none.
    """
    if not isinstance(values, dict):
        return values
    limit, factor = values.get("gradient_lim"), values.get("lr_decrease_factor")
    # What the options themselves refuse is left for them to refuse, under their own names.
    if _is_number(limit) and 0 < limit < math.inf:
        values = values | {"clip": _clip_of(values.get("clip"), float(limit), default_clip)}
    if _is_number(factor) and 0 < factor < 1 and "schedule" in values:
        values = values | {"schedule": _schedule_of(values["schedule"], float(factor))}
    return values


def rules_of_bounds(options: Mapping[str, Any]) -> Iterator[Rule]:
    """Where a short name and its section disagree, and what the original's optimiser needs.

    Args:
        options: of a whole config.
    """
    optim, clip, schedule = options["optim"], options["clip"], options["schedule"]
    yield Rule(
        ("optim.kind", "clip.kind", "gradient_lim"),
        optim.kind == "reference" and clip.kind != "value",
        "`optim.kind` reference bounds every gradient entry first",
        "set `gradient_lim`, 1e-7 in the original",
    )
    yield Rule(
        ("gradient_lim", "clip"),
        options["gradient_lim"] is not None and clip != ValueClip(limit=options["gradient_lim"]),
        "`gradient_lim` is `clip.kind` value with that limit, but `clip` says otherwise",
        "set `gradient_lim` or `clip`, not both",
    )
    yield Rule(
        ("lr_decrease_factor", "schedule"),
        isinstance(schedule, Plateau)
        and options["lr_decrease_factor"] not in (None, schedule.factor),
        "`lr_decrease_factor` is `schedule.factor`, which says otherwise",
        "set one of them",
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _clip_of(clip: Any, limit: float, default: KindConfig) -> Any:
    """The clip that `gradient_lim` asks for, in place of the default."""
    known = clip.model_dump() if isinstance(clip, KindConfig) else clip
    return ValueClip(limit=limit) if known in (None, default.model_dump()) else clip


def _schedule_of(schedule: Any, factor: float) -> Any:
    """The schedule with its factor at a plateau set, if it has one and says no other."""
    known = schedule.model_dump() if isinstance(schedule, KindConfig) else schedule
    if not isinstance(known, dict) or known.get("kind") not in ("plateau", "literal"):
        return schedule
    default = Plateau.model_fields["factor"].default
    if known.get("factor", default) != default:
        return schedule
    changed = {"factor": factor}
    if isinstance(schedule, KindConfig):
        return schedule.model_copy(update=changed)
    return {**known, **changed}
