"""Learning rate over time, as a factor of the peak."""

from __future__ import annotations

import math
from typing import Protocol

from weft.config.sections import Constant, Cosine, Plateau

State = dict[str, float]


class Schedule(Protocol):
    """A factor for every step; one that reacts to the loss also observes it."""

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""

    def observe(self, loss: float) -> None:
        """Takes in the training loss of the step just done (only if `reacts`)."""

    @property
    def reacts(self) -> bool:
        """Whether the loss matters, so that it must be fetched at every step."""

    def state(self) -> State:
        """What a checkpoint must hold."""

    def load(self, state: State) -> None:
        """Takes back what `state` gave."""


class ConstantSchedule:
    """Linear warm-up to 1, then 1."""

    reacts = False

    def __init__(self, config: Constant, total_steps: int) -> None:
        self.warmup = int(total_steps * config.warmup)

    def factor(self, step: int) -> float:
        """Share of the peak at `step`."""
        return min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0

    def observe(self, loss: float) -> None:
        """A function of the step alone: nothing to learn from the loss."""

    def state(self) -> State:
        """What a checkpoint must hold."""
        return {}

    def load(self, state: State) -> None:
        """Nothing was saved."""


class CosineSchedule(ConstantSchedule):
    """Linear warm-up over w steps, then max(min_lr, (1 + cos(pi (e - w) / (S - w))) / 2)."""

    def __init__(self, config: Cosine, total_steps: int) -> None:
        self.total, self.min_lr = total_steps, config.min_lr
        self.warmup = int(total_steps * config.warmup)
        self.first = 0 if config.zero_first else 1

    def factor(self, step: int) -> float:
        """Share of the peak at `step`."""
        if step < self.warmup:
            return (step + self.first) / self.warmup
        phase = (step - self.warmup) / max(1, self.total - self.warmup)
        return max(self.min_lr, 0.5 + 0.5 * math.cos(math.pi * min(1.0, phase)))


class PlateauSchedule:
    """Multiplies the factor by `factor` after `patience` windows whose mean loss did not improve.

    An improvement is a mean below best - rtol |best|, which also holds for negative losses.
    """

    reacts = True

    def __init__(self, config: Plateau, total_steps: int) -> None:
        self.config = config
        self.scale, self.best, self.bad = 1.0, math.inf, 0.0
        self.total, self.count = 0.0, 0.0

    def factor(self, step: int) -> float:
        """Share of the peak at `step`."""
        return self.scale

    def observe(self, loss: float) -> None:
        """Adds the loss to the window, and judges the window when it is full."""
        self.total, self.count = self.total + loss, self.count + 1
        if self.count < self.config.window:
            return
        mean, self.total, self.count = self.total / self.count, 0.0, 0.0
        margin = self.config.rtol * abs(self.best) if math.isfinite(self.best) else 0.0
        if mean < self.best - margin:
            self.best, self.bad = mean, 0.0
        else:
            self.bad += 1
        if self.bad > self.config.patience:
            self.scale = max(self.config.min_lr, self.scale * self.config.factor)
            self.bad = 0.0

    def state(self) -> State:
        """What a checkpoint must hold."""
        names = ("scale", "best", "bad", "total", "count")
        return {name: getattr(self, name) for name in names}

    def load(self, state: State) -> None:
        """Takes back what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)
