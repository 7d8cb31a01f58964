"""How often something happens, in optimiser steps or epochs."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_CADENCE = re.compile(r"^([1-9]\d*) (step|epoch)s?$")


def _check_cadence(text: str) -> str:
    if not _CADENCE.match(text):
        raise ValueError("expected a number and a unit, such as `390 steps` or `1 epoch`")
    return text


Cadence = Annotated[str, AfterValidator(_check_cadence)]


def cadence_in_steps(cadence: str, batches_per_epoch: int) -> int:
    """`390 steps` or `2 epochs` as a number of optimiser steps."""
    match = _CADENCE.match(cadence)
    assert match is not None, cadence
    return int(match[1]) * (batches_per_epoch if match[2] == "epoch" else 1)
