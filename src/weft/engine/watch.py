"""Times the operators of some steps of a run with torch's profiler."""

from __future__ import annotations

from typing import Protocol

from torch.profiler import ProfilerActivity, profile

from weft.config.cadence import span_of
from weft.engine.parts import Parts

_ROWS, _WIDEST = 25, 60
"""Operators in the table, and characters of their names."""


class Keeper(Protocol):
    """Where a profile goes."""

    def profile(self, profiled: profile, table: str) -> None:
        """Keeps a profile and the table of its costliest operators."""


class Watch:
    """Profiles the steps that `engine.profile` names, and hands the profile to a keeper.

    The profiler starts before the first of these steps and ends after the last, or when the run is
    stopped. A run that is resumed among them profiles the rest.

    Args:
        parts: of the run.
        keeper: stores the profile.
    """

    def __init__(self, parts: Parts, keeper: Keeper) -> None:
        assert parts.config.engine.profile is not None
        self.first, self.last = span_of(parts.config.engine.profile)
        self.on_gpu = parts.device.type == "cuda"
        self.keeper = keeper
        self.running: profile | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.running is not None:
            self._end(keep=kind is None)

    def before(self, step: int) -> None:
        """Call before step `step`, counted from 1 as in the log."""
        if self.running is None and self.first <= step <= self.last:
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self.on_gpu
            self.running = profile(activities=activities)
            self.running.start()

    def after(self, step: int) -> None:
        """Call after step `step`."""
        if self.running is not None and step >= self.last:
            self._end(keep=True)

    def _end(self, *, keep: bool) -> None:
        profiled, self.running = self.running, None
        assert profiled is not None
        profiled.stop()
        if keep:
            by = "self_device_time_total" if self.on_gpu else "self_cpu_time_total"
            table = profiled.key_averages().table(by, _ROWS, max_name_column_width=_WIDEST)
            self.keeper.profile(profiled, table)
