"""Runs the first steps of a preset and gives their losses with all digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from torch import Tensor
from torch.profiler import profile

from weft import api, families
from weft.engine.loop import Progress, Trainer
from weft.engine.parts import Parts
from weft.engine.step import Stepper

ALWAYS = (
    "engine.device=cpu", "engine.threads=1", "engine.compile=false", "engine.precision=fp32",
    "data.download=false", "log.every=1", "schedule.kind=constant",
)  # fmt: skip
"""One thread and float32, so that sums have one order; a constant rate, so that steps move."""


NEVER = 1 << 40


class Enough(Exception):
    """The losses asked for are there."""


class Losses:
    """A recorder that keeps training losses and stops the run after some."""

    def __init__(self, steps: int) -> None:
        self.steps, self.values = steps, list[float]()

    def row(self, step: int, epoch: float, seconds: float, values: Mapping[str, float]) -> None:
        self.values.append(values["train/loss"])
        if step == self.steps:
            raise Enough

    def weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Nobody asked for them."""

    def alive(self, step: int) -> None:
        """Nobody watches."""

    def note(self, text: str) -> None:
        """Nobody reads it."""

    def profile(self, profiled: profile, table: str) -> None:
        """None is asked for."""

    def settle(self) -> None:
        """Nothing is saved."""

    def saved(self) -> None:
        """Nothing is saved."""

    def enough(self) -> bool:
        """Rows alone end it."""
        return False


def first_losses(recipe: str, words: Sequence[str], steps: int) -> list[float]:
    """Losses of the first `steps` steps of the recipe, through the loop that `weft train` runs."""
    config = api.configure(recipe, *ALWAYS, *words).config
    parts = Parts.of(families.find(config.family), config)
    parts = replace(parts, plan=replace(parts.plan, eval_every=NEVER, save_every=NEVER))
    data = parts.data()
    kept, stepper = Losses(steps), Stepper(parts, parts.model(data=data))
    trainer = Trainer(parts, data, stepper, None, kept)
    with suppress(Enough):
        trainer.train(Progress())
    return kept.values
