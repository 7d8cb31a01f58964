"""The kinds of transition by name: a line each, with the option that only this kind reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from weft.config.base import FamilyConfig
from weft.config.rule import Rule


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
        identity: whether it can be the identity, and starts there if not told otherwise.
        bounded: whether its state are the weights themselves, which can be clipped.
    """

    shape: str
    build: str
    number: Number | None = None
    identity: bool = True
    bounded: bool = True


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
    "cdiag": TransitionKind("complex diagonal", f"{_ROOM}.rotation:Rotation", identity=False),
    "modal": TransitionKind(
        "modes h with theta = mean + C h", f"{_ROOM}.rotation:modes",
        Number("transition_modes", 128, "Numbers of h"), identity=False, bounded=False,
    ),
}  # fmt: skip
SHAPES = ", ".join(kind.shape for kind in KINDS.values())
"""All shapes of A, in words."""


def spelt(config: FamilyConfig, kind: str) -> str:
    """The kind with its number, as `build_transition` takes it: `full`, `block:32`."""
    number = KINDS[kind].number
    return kind if number is None else f"{kind}:{getattr(config, number.key)}"


def spreads(config: FamilyConfig) -> bool:
    """Whether A starts with a memory, because the config says so or the kind knows nothing else."""
    options = dict(config)
    return options["transition_init"] == "spread" or not KINDS[options["transition"]].identity


def rules_of_transition(options: Mapping[str, Any]) -> Iterator[Rule]:
    """What must not be together with a kind of transition.

    Args:
        options: of a whole config.
    """
    name, start = options["transition"], options["transition_init"]
    yield Rule(
        ("transition", "transition_init"),
        start == "identity" and not KINDS[name].identity,
        f"`transition` {name} forgets always, so that it cannot be the identity",
        "set `transition_init` to spread, or leave it out",
    )
    yield Rule(
        ("transition", "weights_lim"),
        options["weights_lim"] is not None and not KINDS[name].bounded,
        f"`transition` {name} moves numbers that weights are made of, and clips none",
        "set `weights_lim` to null, or choose another `transition`",
    )
    yield Rule(
        ("root", "transition_init"),
        options["root"] == "physics:oscillator" and start == "spread",
        "`root` physics:oscillator brings its own start of A",
        "leave out `transition_init`",
    )


def _numbers() -> dict[str, Any]:
    """Each number as an option: key -> (type, field)."""
    return {
        number.key: (
            int,
            Field(number.usual, ge=1, description=f"{number.about}."),
        )
        for name, kind in KINDS.items()
        if (number := kind.number)
    }


_START: dict[str, Any] = {
    "transition_init": (
        Literal["identity", "spread"] | None,
        Field(
            None,
            description="Where A starts: at I, or with time constants from 2 to three times as "
            "many steps as are to be remembered, and phases of all sizes. Unset: at I, if the kind "
            "can be I.",
        ),
    )
}

# Made of the lines above, which a type checker cannot follow: to it a kind is text, and a number
# is read by `spelt` alone.
if TYPE_CHECKING:
    KindName = str
    TransitionOptions = FamilyConfig
else:
    KindName = Literal[tuple(KINDS)]
    TransitionOptions = create_model(
        "TransitionOptions", __base__=FamilyConfig, __module__=__name__, **_numbers(), **_START
    )
