"""The original's plateau rule, taken literally: for losses below zero it accepts a slight loss."""

from __future__ import annotations

from weft.task.schedule import Windowed


class LiteralSchedule(Windowed):
    """Cuts at the `patience`-th window in a row that did not improve.

    A window's mean loss improves on the best one if it is below (1 - rtol) best. If the best one is
    negative, that bound lies above it: means that are slightly worse count as improvements and
    become the best, so that the rate does not fall while the loss creeps up. The engine's `plateau`
    asks for best - rtol |best|, and waits for one window more.
    """

    def improves(self, mean: float) -> bool:
        """Whether `mean` lies below (1 - rtol) best."""
        return mean < (1 - self.config.rtol) * self.best

    @property
    def worn_out(self) -> bool:
        """Whether `patience` windows were bad."""
        return self.bad == self.config.patience
