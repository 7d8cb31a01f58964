"""Learning rate over time, as the original had it: from 0 up, then a cosine down to a floor."""

from __future__ import annotations

from weft.families.feedback.options.sections import WarmupCosine
from weft.task.schedule import Planned, cosine


class WarmupCosineSchedule(Planned):
    """Linear warm-up over w = int(warmup S) of S steps, then a cosine to `min_lr` at step S.

    Step s < w has the factor s / w; later ones q + (1 - q) min_lr with
    q = (1 + cos(pi min(1, (s - w) / (S - w)))) / 2. The very first step has the factor 0.
    """

    def __init__(self, config: WarmupCosine, total_steps: int) -> None:
        self.min_lr = config.min_lr
        self.warmup = int(config.warmup * total_steps)
        self.length = max(1, total_steps - self.warmup)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""
        if step < self.warmup:
            return step / self.warmup
        return cosine(min(1.0, (step - self.warmup) / self.length), self.min_lr)
