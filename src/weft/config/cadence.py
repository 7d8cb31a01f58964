"""Options that say how often something happens, in steps or epochs, and spans of steps."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_CADENCE = re.compile(r"^([1-9]\d*) (step|epoch)s?$")


def _with_unit(value: Any) -> Any:
    """Adds the unit `steps` to a bare number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value} step{'' if value == 1 else 's'}"
    return f"{value} steps" if isinstance(value, str) and value.isdecimal() else value


def _check_cadence(text: str) -> str:
    if not _CADENCE.match(text):
        raise ValueError(f"`{text}` is no cadence: say `390 steps`, `1 epoch`, or 390 for steps")
    return text


COUNTS = BeforeValidator(_with_unit)
"""The validator of a cadence; `weft.config.explain` knows a cadence by it."""

ACCEPTED = "a number of steps, `N steps` or `N epochs`"

Cadence = Annotated[
    str,
    COUNTS,
    AfterValidator(_check_cadence),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[1-9][0-9]*( (step|epoch)s?)?$"},
                {"type": "integer", "minimum": 1},
            ]
        }
    ),
]


def cadence_in_steps(cadence: str, batches_per_epoch: int) -> int:
    """`390 steps` or `2 epochs` as a number of optimiser steps."""
    match = _CADENCE.match(cadence)
    assert match is not None, cadence
    return int(match[1]) * (batches_per_epoch if match[2] == "epoch" else 1)


_SPAN = re.compile(r"^([1-9]\d*):([1-9]\d*)$")


def _check_span(text: str) -> str:
    match = _SPAN.match(text)
    if not match or int(match[1]) > int(match[2]):
        raise ValueError(f"`{text}` is no span of steps: say `10:20` for steps 10 to 20")
    return text


Span = Annotated[str, AfterValidator(_check_span)]
"""A range of steps such as `10:20`, both ends included."""


def span_of(text: str) -> tuple[int, int]:
    """First and last step of a `Span`."""
    first, _, last = text.partition(":")
    return int(first), int(last)
