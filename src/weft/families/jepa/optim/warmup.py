"""Learning rate over time: warm-up and cosine, counted from the first step or as published."""

from __future__ import annotations

import math

from weft.families.jepa.options.sections import Clean, Published


class CleanSchedule:
    """Linear warm-up over w of S steps, then a cosine that ends at `min_lr` at the last step.

    Step s < w has the factor (s + 1) / w; later ones q + (1 - q) min_lr with
    q = (1 + cos(pi (s - w) / (S - 1 - w))) / 2.
    """

    reacts = False

    def __init__(self, config: Clean, total_steps: int) -> None:
        self.min_lr = config.min_lr
        self.warmup = round(config.warmup * total_steps)
        self.length = max(1, total_steps - 1 - self.warmup)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return _cosine((step - self.warmup) / self.length, self.min_lr)

    def observe(self, loss: float) -> None:
        """A function of the step alone: nothing to learn from the loss."""

    def state(self) -> dict[str, float]:
        """Nothing needs to be saved."""
        return {}

    def load(self, state: dict[str, float]) -> None:
        """Nothing was saved."""


class PublishedSchedule(CleanSchedule):
    """The original's: the counter starts at one epoch, so the cosine runs past its end by one.

    With c = s + start S, w = warmup S: c / w for c < w, else the cosine at (c - w) / (S - w).
    """

    def __init__(self, config: Published, total_steps: int) -> None:
        self.min_lr = config.min_lr
        self.warmup = round(config.warmup * total_steps)
        self.start = round(config.start * total_steps)
        self.length = max(1, total_steps - self.warmup)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""
        count = step + self.start
        if count < self.warmup:
            return count / self.warmup
        return _cosine((count - self.warmup) / self.length, self.min_lr)


def _cosine(phase: float, floor: float) -> float:
    """From 1 at phase 0 to `floor` at phase 1."""
    share = 0.5 + 0.5 * math.cos(math.pi * phase)
    return share + (1 - share) * floor
