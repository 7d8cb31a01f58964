"""The original's plateau rule, taken literally: for losses below zero it accepts a slight loss."""

from __future__ import annotations

from typing import Literal

from weft.families.warp.options.sections import LiteralPlateau
from weft.task.schedule import State, Windowed


class LiteralSchedule(Windowed):
    """Cuts at the `patience`-th window in a row that did not improve.

    A window's mean loss improves on the best one if it is below (1 - rtol) best. If the best one is
    negative, that bound lies above it: means that are slightly worse count as improvements and
    become the best, so that the rate does not fall while the loss creeps up. The engine's `plateau`
    asks for best - rtol |best|, and waits for one window more.

    A cut acts on the very step that completes the window; after it, `cooldown` windows are not
    counted as bad.
    """

    leads: Literal[True] = True

    def __init__(self, config: LiteralPlateau, total_steps: int) -> None:
        super().__init__(config, total_steps)
        self.cooldown, self.waits = config.cooldown, 0.0

    def improves(self, mean: float) -> bool:
        """Whether `mean` lies below (1 - rtol) best."""
        return mean < (1 - self.config.rtol) * self.best

    @property
    def worn_out(self) -> bool:
        """Whether `patience` windows were bad."""
        return self.bad == self.config.patience

    def judge_window(self, mean: float) -> None:
        """Takes in the mean loss of a window; while it cools down, only as a new best."""
        if self.waits > 0:
            self.best = mean if self.improves(mean) else self.best
            self.waits, self.bad = self.waits - 1, 0.0
            return
        # A patience of 0 cuts at windows that improve, too.
        cuts = (0 if self.improves(mean) else self.bad + 1) == self.config.patience
        super().judge_window(mean)
        self.waits = float(self.cooldown * cuts)

    def state(self) -> State:
        """What a checkpoint must hold."""
        return {**super().state(), "waits": self.waits}
