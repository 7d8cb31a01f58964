"""What every run has: the config that a family's own extends, and the rules between its options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, model_validator

from weft.config.rule import Rule, hold
from weft.config.runref import RunRef
from weft.config.section import KindConfig, Section
from weft.config.sections import (
    AdamW,
    CheckpointConfig,
    Constant,
    DataConfig,
    EngineConfig,
    EvalConfig,
    LogConfig,
    NoClip,
    RunSection,
)


class FamilyConfig(Section):
    """What every run has. A family's config extends this with its own fields at the root."""

    family: str = Field(description="Which family trains.")
    seed: int = Field(0, ge=0, description="Seed of initialisation, data order and noise.")
    init: RunRef | None = Field(
        None, description="Earlier run whose weights this one starts from; its model is the same."
    )
    steps: int | None = Field(None, ge=1, description="Length in optimiser steps (or `epochs`).")
    epochs: float | None = Field(None, gt=0, description="Length in epochs (or `steps`).")
    batch_size: int = Field(128, ge=1, description="Items in a training batch, over all ranks.")
    data: DataConfig = Field(DataConfig(), description="Data.")
    # The unions of `optim`, `schedule` and `clip` are closed by `weft.config.recipe`,
    # which knows the kinds that the family and the plug-ins add.
    optim: KindConfig = Field(AdamW(), description="Optimiser.")
    schedule: KindConfig = Field(Constant(), description="Learning rate over time.")
    clip: KindConfig = Field(NoClip(), description="Bound on gradients.")
    eval: EvalConfig = Field(EvalConfig(), description="Evaluation.")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="Checkpoints.")
    log: LogConfig = Field(LogConfig(), description="Logging.")
    engine: EngineConfig = Field(EngineConfig(), description="Arithmetic.")
    run: RunSection = Field(RunSection(), description="Run directory.")

    def rules(self) -> Iterator[Rule]:
        """What options must not be together; a family's config overrides this with its own rules.

        Each states every key that its outcome depends on. All broken ones are told at once, with
        where their keys were set.
        """
        yield from ()

    def all_rules(self) -> Iterator[Rule]:
        """The rules of every run, then the family's own."""
        yield Rule(
            ("steps", "epochs"),
            (self.steps is None) == (self.epochs is None),
            "a run's length is exactly one of `steps` and `epochs`",
            "set one of them, and leave out the other",
        )
        yield from self.rules()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        hold(self.all_rules(), type(self).__name__)
        return self

    def plain(self) -> dict[str, Any]:
        """The config as plain dictionaries, lists and scalars, ready for YAML."""
        return self.model_dump(mode="json")
