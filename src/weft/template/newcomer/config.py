"""Options of a run: the points, and the network that learns them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from weft.config.base import FamilyConfig
from weft.config.rule import Rule
from weft.config.sections import DataConfig


class Points(DataConfig):
    """The points of the data set."""

    items: int = Field(1024, ge=20, description="Points; a tenth is held out, as many to test.")
    noise: float = Field(0.1, ge=0, description="Standard deviation of the noise on a point.")


class Config(FamilyConfig):
    """Learning a curve from noisy points."""

    width: int = Field(32, ge=1, description="Hidden units.")
    activation: Literal["tanh", "relu"] = Field("tanh", description="Activation of a hidden unit.")
    data: Points = Field(Points(), description="Points.")

    @property
    def held_out(self) -> int:
        """Points held out for validation; as many more are for the test."""
        return self.data.items // 10

    @property
    def trained_on(self) -> int:
        """Points that are learnt."""
        return self.data.items - 2 * self.held_out

    def rules(self) -> Iterator[Rule]:
        """Rules between options; a broken one is an error before anything is written."""
        yield Rule(
            ("batch_size", "data.items"),
            self.batch_size > self.trained_on,
            f"`batch_size` {self.batch_size} is more than the {self.trained_on} points of "
            "`data.items` that are learnt",
            "lower `batch_size` or raise `data.items`",
        )
