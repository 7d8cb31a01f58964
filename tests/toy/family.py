"""The smallest family that can train: a line through noisy points. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from weft.config.base import FamilyConfig
from weft.config.cadence import Cadence
from weft.config.family import Family, Stacking
from weft.config.rule import Rule
from weft.config.runref import RunRef
from weft.config.section import KindConfig
from weft.config.sections import Adam, EvalConfig


class ToyConfig(FamilyConfig):
    """Options of the toy family."""

    family: Literal["toy"] = Field("toy", description="Which family trains.")
    batch_size: int = Field(8, ge=1, description="Items in a batch.")
    width: int = Field(4, ge=1, description="Hidden width.")
    noise: float = Field(0.0, ge=0, description="Noise added to the inputs of a step.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout.")
    validate_on: Literal["val", "test"] = Field("val", description="Held-out split.")
    poison: int = Field(-1, description="Step whose loss is not a number; -1 for none.")
    optim: KindConfig = Field(Adam(lr=1e-2), description="Optimiser.")
    eval: EvalConfig = Field(EvalConfig(every="4 steps"), description="Evaluation.")
    base: RunRef | None = Field(None, description="Earlier run whose weights it starts from.")
    pause: float = Field(0.0, ge=0, description="Seconds to sleep in each step.")

    def rules(self) -> Iterator[Rule]:
        """What options of toy must not be together."""
        yield Rule(
            ("dropout", "width"),
            self.dropout > 0 and self.width == 1,
            "`dropout` of a single unit leaves nothing to learn from",
            "set `width` to 2 or more",
        )


class ToyEval(EvalConfig):
    """Unused; shows that sections can be narrowed."""

    every: Cadence = "1 epoch"


FAMILY = Family(
    name="toy",
    summary="A line through noisy points.",
    config=ToyConfig,
    task="tests.toy.task:ToyTask",
    default="small",
    comparison="tests.toy.comparison:figures",
    stack=Stacking("tests.toy.stack:stack"),
    aliases={
        "old_width": ("width", lambda value: value + 1),
        "lr": ("optim.lr", lambda value: value),
    },
)
