"""The kinds of transition by name: a line each, with the option that only this kind reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from weft.config.base import FamilyConfig


@dataclass(frozen=True)
class Number:
    """A whole number >= 1 that a kind of transition has beside D.

    Attributes:
        key: the config's option.
        usual: its default.
        about: what it counts.
    """

    key: str
    usual: int
    about: str


@dataclass(frozen=True)
class TransitionKind:
    """What can be said of a kind without importing torch.

    Attributes:
        shape: of A, in words.
        build: "module:class", called as (D) or (D, number); imported on use.
        number: the number it has, or None.
    """

    shape: str
    build: str
    number: Number | None = None


_ROOM = "weft.families.warp.transition"
KINDS: dict[str, TransitionKind] = {
    "full": TransitionKind("full", f"{_ROOM}.full:Full"),
    "diag": TransitionKind("diagonal", f"{_ROOM}.diag:Diagonal"),
    "block": TransitionKind(
        "block-diagonal", f"{_ROOM}.block:Block", Number("transition_block", 32, "Rows of a block")
    ),
    "lowrank": TransitionKind(
        "I + U V^T", f"{_ROOM}.lowrank:LowRank", Number("transition_rank", 16, "Columns of U and V")
    ),
}
SHAPES = ", ".join(kind.shape for kind in KINDS.values())
"""All shapes of A, in words."""


def spelt(config: FamilyConfig, kind: str) -> str:
    """The kind with its number, as `build_transition` takes it: `full`, `block:32`."""
    number = KINDS[kind].number
    return kind if number is None else f"{kind}:{getattr(config, number.key)}"


def _numbers() -> dict[str, Any]:
    """Each number as an option: key -> (type, field)."""
    return {
        number.key: (
            int,
            Field(number.usual, ge=1, description=f"{number.about} (transition {name})."),
        )
        for name, kind in KINDS.items()
        if (number := kind.number)
    }


if TYPE_CHECKING:
    KindName = str
    TransitionOptions = FamilyConfig
else:
    KindName = Literal[tuple(KINDS)]
    TransitionOptions = create_model(
        "TransitionOptions", __base__=FamilyConfig, __module__=__name__, **_numbers()
    )
