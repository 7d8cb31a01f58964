"""Learning rate schedules, as a factor of the peak rate."""

from __future__ import annotations

import math

from weft.config.sections import Constant, Cosine, HeldOut
from weft.task.schedule import Planned, State, Windowed


class ConstantSchedule(Planned):
    """Linear warm-up to 1, then 1."""

    def __init__(self, config: Constant, total_steps: int) -> None:
        self.warmup = int(total_steps * config.warmup)

    def factor(self, step: int) -> float:
        """Share of the peak at `step`."""
        return min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0


class CosineSchedule(Planned):
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


class HeldOutSchedule:
    """Cuts at the `patience`-th evaluation in a row that did not improve on the best by `margin`.

    Attributes:
        scale: share of the peak now.
        best: least value that counted as an improvement.
        bad: evaluations without improvement since then, or since the last cut.
    """

    reacts = False

    def __init__(self, config: HeldOut, total_steps: int) -> None:
        self.config = config
        self.scale, self.best, self.bad = 1.0, math.inf, 0.0

    def factor(self, step: int) -> float:
        """Share of the peak at `step`."""
        return self.scale

    def observe(self, loss: float) -> None:
        """Does nothing: only held-out data count."""

    def judge(self, value: float) -> None:
        """Takes in a metric of held-out data; lower is better, NaN never is."""
        if value < self.best - self.config.margin:
            self.best, self.bad = value, 0.0
            return
        self.bad += 1
        if self.bad >= self.config.patience:
            self.scale, self.bad = max(self.config.min_lr, self.scale * self.config.factor), 0.0

    def state(self) -> State:
        """What a checkpoint must hold."""
        return {"scale": self.scale, "best": self.best, "bad": self.bad}

    def load(self, state: State) -> None:
        """Takes back what `state` gave."""
        self.scale, self.best, self.bad = state["scale"], state["best"], state["bad"]


class PlateauSchedule(Windowed):
    """Cuts after `patience` windows whose mean loss did not improve.

    An improvement is a mean below best - rtol |best|, which also holds for negative losses.
    """

    def improves(self, mean: float) -> bool:
        """Whether `mean` lies below best - rtol |best|."""
        margin = self.config.rtol * abs(self.best) if math.isfinite(self.best) else 0.0
        return mean < self.best - margin

    @property
    def worn_out(self) -> bool:
        """Whether more than `patience` windows were bad."""
        return self.bad > self.config.patience
