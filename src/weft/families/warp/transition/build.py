"""The transition of a layer, built from its kind's name and number."""

from __future__ import annotations

from weft.config.family import resolve
from weft.errors import ConfigError
from weft.families.warp.options.transitions import KINDS
from weft.families.warp.transition.base import Transition


def build_transition(kind: str, size: int) -> Transition:
    """The transition that `kind` describes.

    Args:
        kind: a name of `KINDS`, with its number where it has one: `full`, `block:32`.
        size: D.
    Raises:
        ConfigError: if `kind` is none of these.
    """
    name, colon, number = kind.partition(":")
    known = KINDS.get(name)
    numbered = number.isdecimal() and int(number) > 0
    if known is None or not (numbered if known.number else not colon):
        words = (f"{name}:<number>" if kind.number else name for name, kind in KINDS.items())
        raise ConfigError(
            f"there is no transition `{kind}`",
            where="transition",
            expected=f"{', '.join(words)}; such as block:32",
        )
    make = resolve(known.build)
    built: Transition = make(size, int(number)) if known.number else make(size)
    return built
