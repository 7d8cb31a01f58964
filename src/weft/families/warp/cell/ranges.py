"""What the numbers that a network is built from must be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

from weft.config.explain import suggest
from weft.errors import ConfigError


def check_count(where: str, value: object, least: int = 1) -> None:
    """Refuses what is not a whole number, `least` or more.

    Raises:
        ConfigError: saying which option it is.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ConfigError(
            f"`{where}` is {value!r}", where=where, expected=f"a whole number, {least} or more"
        )


def check_size(where: str, value: object, *, positive: bool = True) -> None:
    """Refuses what is not a finite number above 0, or from 0 on if not `positive`.

    Raises:
        ConfigError: saying which option it is.
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not good or float(value) < 0 or (positive and float(value) == 0):  # type: ignore[arg-type]
        expected = "a finite number, above 0" if positive else "a finite number, 0 or more"
        raise ConfigError(f"`{where}` is {value!r}", where=where, expected=expected)


def check_name(where: str, value: object, known: Sequence[str]) -> None:
    """Refuses what is none of the names that are known.

    Raises:
        ConfigError: saying which option it is.
    """
    if value not in known:
        raise ConfigError(
            f"there is no {where} `{value}`",
            where=where,
            expected=f"one of {', '.join(known)}",
            hint=suggest(str(value), list(known), ""),
        )
