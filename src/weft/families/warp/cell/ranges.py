"""Checks of the numbers and names from which a network is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

from weft.config.explain import suggest
from weft.errors import ConfigError


def check_count(where: str, value: object, least: int = 1) -> None:
    """Checks that an option is an integer of at least `least`.

    Raises:
        ConfigError: if it is not; the error names the option.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ConfigError(
            f"`{where}` is {value!r}", where=where, expected=f"a whole number, {least} or more"
        )


def check_size(where: str, value: object, *, positive: bool = True) -> None:
    """Checks that an option is a finite number above 0, or at least 0 if not `positive`.

    Raises:
        ConfigError: if it is not; the error names the option.
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not good or float(value) < 0 or (positive and float(value) == 0):  # type: ignore[arg-type]
        expected = "a finite number, above 0" if positive else "a finite number, 0 or more"
        raise ConfigError(f"`{where}` is {value!r}", where=where, expected=expected)


def check_name(where: str, value: object, known: Sequence[str]) -> None:
    """Checks that an option is one of the known names.

    Raises:
        ConfigError: if it is not; the error names the option.
    """
    if value not in known:
        raise ConfigError(
            f"there is no {where} `{value}`",
            where=where,
            expected=f"one of {', '.join(known)}",
            hint=suggest(str(value), list(known), ""),
        )
