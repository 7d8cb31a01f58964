"""Learning rate over time: warm-up and cosine, counted from the first step or as published."""

from __future__ import annotations

from weft.families.jepa.options.sections import Clean, Published
from weft.task.schedule import Planned, cosine


class CleanSchedule(Planned):
    """Linear warm-up over w of S steps, then a cosine that ends at `min_lr` at the last step.

    Step s < w has the factor (s + 1) / w; later ones q + (1 - q) min_lr with
    q = (1 + cos(pi (s - w) / (S - 1 - w))) / 2.
    """

    def __init__(self, config: Clean, total_steps: int) -> None:
        self.min_lr = config.min_lr
        self.warmup = round(config.warmup * total_steps)
        self.length = max(1, total_steps - 1 - self.warmup)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return cosine((step - self.warmup) / self.length, self.min_lr)


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
        return cosine((count - self.warmup) / self.length, self.min_lr)
