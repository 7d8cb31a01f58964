"""Runs the first steps of a preset and gives their losses with all digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from weft import api
from weft.config.recipe import kind_of
from weft.engine.device import Ranks
from weft.engine.loop import Progress, Trainer
from weft.engine.step import Stepper
from weft.run.launch import Parts

ALWAYS = (
    "engine.device=cpu", "engine.threads=1", "engine.compile=false", "engine.precision=fp32",
    "data.download=false", "log.every=1", "schedule.kind=constant",
)  # fmt: skip
"""One thread and float32, so that sums have one order; a constant rate, so that steps move."""


_NEVER = 1 << 40


class _Enough(Exception):
    """The losses asked for are there."""


class _Losses:
    """A recorder that keeps training losses and stops the run after some."""

    def __init__(self, steps: int) -> None:
        self.steps, self.values = steps, list[float]()

    def row(self, step: int, epoch: float, seconds: float, values: Mapping[str, float]) -> None:
        self.values.append(values["train/loss"])
        if step == self.steps:
            raise _Enough

    def alive(self, step: int) -> None:
        """Nobody watches."""


def first_losses(recipe: str, words: Sequence[str], steps: int) -> list[float]:
    """Losses of the first `steps` steps of the recipe, through the loop that `weft train` runs."""
    config = api.configure(recipe, *ALWAYS, *words).config
    parts = Parts.of(config)
    data, model = parts.data(), parts.model()
    plan = replace(parts.plan, eval_every=_NEVER, save_every=_NEVER)
    kinds = {s: kind_of(parts.family, s, getattr(config, s).kind)
             for s in ("optim", "schedule", "clip")}  # fmt: skip
    stepper = Stepper(parts.task, model, config, kinds, plan.total_steps, Ranks(), parts.device)
    kept = _Losses(steps)
    trainer = Trainer(parts.task, config, data, stepper, plan, parts.device, Ranks(), None, kept)
    with suppress(_Enough):
        trainer.train(Progress())
    return kept.values
