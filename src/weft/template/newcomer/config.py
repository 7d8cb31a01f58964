"""Options of a run: the points, and the network that learns them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from weft.config.base import DataConfig, FamilyConfig


class Points(DataConfig):
    """Which points are seen."""

    items: int = Field(1024, ge=20, description="Points; a tenth is held out, as many to test.")
    noise: float = Field(0.1, ge=0, description="Standard deviation of the noise on a point.")


class Config(FamilyConfig):
    """Learning a curve from noisy points."""

    width: int = Field(32, ge=1, description="Hidden units.")
    activation: Literal["tanh", "relu"] = Field("tanh", description="Bend of a hidden unit.")
    data: Points = Field(Points(), description="Points.")

    @property
    def held_out(self) -> int:
        """Points held out for validation; as many more are for the test."""
        return self.data.items // 10

    @property
    def trained_on(self) -> int:
        """Points that are learnt."""
        return self.data.items - 2 * self.held_out

    # Rules between options stand here, so that a bad combination dies before anything is written.
    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.batch_size > self.trained_on:
            raise ValueError(
                f"`batch_size` {self.batch_size} is more than the {self.trained_on} points of "
                "`data.items` that are learnt"
            )
        return self
