"""`FamilyConfig`: the options of every run, which a family's config extends, and their rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

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

_NEEDS = {
    "log.wandb.project": "log.wandb.mode=offline|online",
    "log.mlflow.uri": "log.mlflow.experiment",
    "engine.max_skips": "engine.nonfinite=skip",
}


class FamilyConfig(Section):
    """The options of every run. A family's config extends this with its own fields at the root."""

    family: str = Field(description="Which family trains.")
    seed: int = Field(0, ge=0, description="Seed of initialisation, data order and noise.")
    init: RunRef | None = Field(
        None, description="Earlier run of the same model whose weights this one starts from."
    )
    steps: int | None = Field(None, ge=1, description="Length in optimiser steps (or `epochs`).")
    epochs: float | None = Field(None, gt=0, description="Length in epochs (or `steps`).")
    batch_size: int = Field(128, ge=1, description="Items in a training batch, over all ranks.")
    data: DataConfig = Field(DataConfig(), description="Data.")
    # `weft.config.recipe` narrows `optim`, `schedule` and `clip` to the union of all known kinds,
    # those of the family and of plug-ins included.
    optim: KindConfig = Field(AdamW(), description="Optimiser.")
    schedule: KindConfig = Field(Constant(), description="Learning rate over time.")
    clip: KindConfig = Field(NoClip(), description="Bound on gradients.")
    eval: EvalConfig = Field(EvalConfig(), description="Evaluation.")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="Checkpoints.")
    log: LogConfig = Field(LogConfig(), description="Logging.")
    engine: EngineConfig = Field(EngineConfig(), description="Arithmetic.")
    run: RunSection = Field(RunSection(), description="Run directory.")

    needs: ClassVar[Mapping[str, str]] = {}
    """Option or section, dotted -> what must hold so that it has an effect, see `needs_of`. It may
    be set without, so that a sweep over the other option can hold it; whoever does is told."""

    @classmethod
    def all_needs(cls) -> dict[str, str]:
        """The needs of every run's options and the family's own."""
        return {**_NEEDS, **cls.needs}

    def rules(self) -> Iterator[Rule]:
        """Rules between options; a family's config overrides this with its own.

        A rule names every key that its outcome depends on. All broken rules are reported together,
        each with the places where its keys were set.
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
