"""The original's plateau rule, taken literally: for losses below zero it accepts a slight loss."""

from __future__ import annotations

import math

from weft.families.warp.options.sections import LiteralPlateau


class LiteralSchedule:
    """Multiplies the factor by `factor` at the `patience`-th window in a row without improvement.

    A window's mean loss improves on the best one if it is below (1 - rtol) best. If the best one is
    negative, that bound lies above it: means that are slightly worse count as improvements and
    become the best, so that the rate does not fall while the loss creeps up. The engine's `plateau`
    asks for best - rtol |best|, and waits for one window more.
    """

    reacts = True

    def __init__(self, config: LiteralPlateau, total_steps: int) -> None:
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
        if mean < (1 - self.config.rtol) * self.best:
            self.best, self.bad = mean, 0.0
        else:
            self.bad += 1
        if self.bad == self.config.patience:
            self.scale = max(self.config.min_lr, self.scale * self.config.factor)
            self.bad = 0.0

    def state(self) -> dict[str, float]:
        """What a checkpoint must hold."""
        names = ("scale", "best", "bad", "total", "count")
        return {name: getattr(self, name) for name in names}

    def load(self, state: dict[str, float]) -> None:
        """Takes back what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)
