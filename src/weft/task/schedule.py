"""The interface of learning rate schedules; bases for those of the step alone and of the loss."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, Protocol, runtime_checkable

from weft.config.sections import Plateau

State = dict[str, float]


class Schedule(Protocol):
    """A factor of the peak learning rate for every step; it may react to the training loss."""

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""

    def observe(self, loss: float) -> None:
        """Takes in the training loss of a step; called at every step if `reacts`."""

    @property
    def reacts(self) -> bool:
        """Whether the loss matters, so that it must be fetched at every step."""

    def state(self) -> State:
        """The state that a checkpoint must hold."""

    def load(self, state: State) -> None:
        """Restores a `state`."""


@runtime_checkable
class Leading(Schedule, Protocol):
    """A schedule that observes the loss of a step before that step's update, not after it."""

    leads: Literal[True]


@runtime_checkable
class Judging(Schedule, Protocol):
    """A schedule that reacts to held-out data."""

    def judge(self, value: float) -> None:
        """Takes in, after each evaluation, the metric that selects the best weights.

        Args:
            value: lower is better; a metric for which higher is better is negated.
        """


class Planned:
    """Base of a schedule whose `factor` is a function of the step alone: it has no state."""

    reacts = False

    def observe(self, loss: float) -> None:
        """Does nothing."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load(self, state: State) -> None:
        """Nothing was saved."""


def cosine(phase: float, floor: float) -> float:
    """Half a cosine from 1 at phase 0 to `floor` at phase 1."""
    share = 0.5 + 0.5 * math.cos(math.pi * phase)
    return share + (1 - share) * floor


class Windowed(ABC):
    """Cuts the rate when the mean training loss over windows of steps no longer improves.

    A cut multiplies the factor by `config.factor`, but not below `config.min_lr`.

    Attributes:
        best: mean loss of the last window that counted as an improvement.
        bad: windows without improvement since then, or since the last cut.
    """

    reacts = True

    def __init__(self, config: Plateau, total_steps: int) -> None:
        self.config = config
        self.scale, self.best, self.bad = 1.0, math.inf, 0.0
        self.total, self.count = 0.0, 0.0

    @abstractmethod
    def improves(self, mean: float) -> bool:
        """Whether a window of this mean loss improves on the best one."""

    @property
    @abstractmethod
    def worn_out(self) -> bool:
        """Whether there were enough bad windows for a cut."""

    def factor(self, step: int) -> float:
        """Share of the peak at `step`."""
        return self.scale

    def observe(self, loss: float) -> None:
        """Adds the loss to the window, and judges the window when it is full."""
        self.total, self.count = self.total + loss, self.count + 1
        if self.count < self.config.window:
            return
        mean, self.total, self.count = self.total / self.count, 0.0, 0.0
        self.judge_window(mean)

    def judge_window(self, mean: float) -> None:
        """Takes in the mean loss of a window, and cuts the factor if it was one too many."""
        if self.improves(mean):
            self.best, self.bad = mean, 0.0
        else:
            self.bad += 1
        if self.worn_out:
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
