"""Learning rate over time, as the original had it: from 0 up, then a cosine down to a floor."""

from __future__ import annotations

import math

from weft.families.feedback.options.sections import WarmupCosine


class WarmupCosineSchedule:
    """Linear warm-up over w = int(warmup S) of S steps, then a cosine to `min_lr` at step S.

    Step s < w has the factor s / w; later ones q + (1 - q) min_lr with
    q = (1 + cos(pi min(1, (s - w) / (S - w)))) / 2. The very first step has the factor 0.
    """

    reacts = False

    def __init__(self, config: WarmupCosine, total_steps: int) -> None:
        self.min_lr = config.min_lr
        self.warmup = int(config.warmup * total_steps)
        self.length = max(1, total_steps - self.warmup)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""
        if step < self.warmup:
            return step / self.warmup
        phase = min(1.0, (step - self.warmup) / self.length)
        share = 0.5 + 0.5 * math.cos(math.pi * phase)
        return share + (1 - share) * self.min_lr

    def observe(self, loss: float) -> None:
        """A function of the step alone: nothing to learn from the loss."""

    def state(self) -> dict[str, float]:
        """Nothing needs to be saved."""
        return {}

    def load(self, state: dict[str, float]) -> None:
        """Nothing was saved."""
