"""`Context`: the step a task is called at, and the random streams it draws from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from weft.data.random import stream


@dataclass(frozen=True)
class Context:
    """Where training stands when a task is called.

    Attributes:
        seed: the run's seed.
        step: optimiser steps done so far, 0 at the first call.
        total_steps: optimiser steps of the whole run.
        device: where the model and the batch live.
        parts: number of equal parts of the step's batch, over accumulation and processes.
        log: whether this step's scalars will be recorded; diagnostics may be skipped otherwise.
    """

    seed: int
    step: int
    total_steps: int
    device: torch.device
    parts: int = 1
    log: bool = True

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return self.step / max(1, self.total_steps)

    def generator(self, name: str, *, device: str | None = None) -> torch.Generator | None:
        """The random stream `name` of this step: a pure function of (seed, step, name).

        None on the meta device, as in a dry run; torch's functions accept None.

        Args:
            name: of the stream.
            device: where it draws; by default the batch's device.
        """
        if self.device.type == "meta":
            return None
        return stream(self.seed, self.step, name, device=device or self.device)
