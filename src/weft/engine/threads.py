"""Chooses a run's number of CPU threads by timing steps of a copy before the first step."""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from weft.data.source import Splits
from weft.engine.device import using_threads
from weft.engine.loop import Trainer
from weft.engine.parts import Parts
from weft.engine.step import Stepper

_SECONDS = 1.0
"""Longest that measuring may take, in seconds."""

_SHARE = 0.05
"""Largest share of the run's own time that measuring may take."""

_FEWEST = 4
"""Fewest steps that allow a choice: a warm-up and a timed one, with one thread and with all."""

_BLOCK_SECONDS = 0.005
"""Steps are timed in blocks of about this many seconds."""

_GAIN = 0.05
"""Share of time that all threads must save to be chosen: they take cores from other programs."""


@dataclass(frozen=True)
class Threads:
    """The number of threads that was chosen, and why.

    Attributes:
        number: threads of a step; None leaves the number to torch.
        why: in a few words; "" where there was nothing to choose.
        milliseconds: number of threads -> time of a step, where it was measured.
    """

    number: int | None
    why: str = ""
    milliseconds: Mapping[int, float] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """The line the run begins with, or "" where there was nothing to choose."""
        what = f"{self.number} thread{'' if self.number == 1 else 's'}"
        return f"{what}: {self.why}" if self.why else ""

    def plain(self) -> dict[str, Any]:
        """As resolved.yaml stores it."""
        if self.number is None:
            return {}
        measured = {str(n): round(value, 3) for n, value in self.milliseconds.items()}
        return {"threads": self.number, **({"threads_step_ms": measured} if measured else {})}


def choose(parts: Parts, model: nn.Module, data: Splits[Any]) -> Threads:
    """One thread, or all that torch would take: whichever makes this run's steps faster now.

    The timed steps are those of a copy of the model with its own optimiser, so the run itself is
    not touched. The number of threads changes the last digits of sums; a run therefore keeps it.
    """
    everything = torch.get_num_threads()
    if parts.config.engine.threads is not None:
        return Threads(parts.config.engine.threads)
    if parts.ranks.world > 1 or parts.device.type != "cpu":
        return Threads(None)
    if everything == 1 or "OMP_NUM_THREADS" in os.environ or parts.config.engine.compile:
        return Threads(everything)
    if parts.plan.total_steps * _SHARE < _FEWEST:
        return Threads(everything, "the run is too short to try fewer")
    try:
        copied = Trainer(parts, data, Stepper(parts, copy.deepcopy(model)), None, None)
        with torch.random.fork_rng(devices=()):
            return _measured(partial(next, copied.rehearse()), parts.plan.total_steps, everything)
    except Exception as error:
        # What fails on a copy fails at step 0, too, where the run records the error.
        return Threads(everything, f"measuring failed ({type(error).__name__})")


def kept(parts: Parts, resolved: Mapping[str, Any]) -> Threads:
    """The number of threads a run began with, from its resolved.yaml; `engine.threads` overrides
    it."""
    number = resolved.get("threads")
    own = parts.config.engine.threads
    if own is not None or not isinstance(number, int) or parts.ranks.world > 1:
        return Threads(own)
    if parts.device.type != "cpu" or number < 1:
        return Threads(None)
    changed = number != torch.get_num_threads()
    return Threads(number, "as the run began; engine.threads=N changes it" if changed else "")


def _measured(step: Callable[[], object], total_steps: int, everything: int) -> Threads:
    """Times steps with one thread and with all in turns, so that a busy moment affects both."""
    began = time.perf_counter()

    def seconds(threads: int, steps: int = 1) -> float:
        with using_threads(threads):
            start = time.perf_counter()
            for _ in range(steps):
                step()
            return (time.perf_counter() - start) / steps

    # One thread first: on a busy machine a step with all can take a hundred times longer.
    seconds(1)
    alone = seconds(1)
    budget = min(_SECONDS, _SHARE * alone * total_steps)
    if alone * _FEWEST > budget:
        return Threads(everything, f"steps of {alone:.2g} s are too long to try fewer")
    first = seconds(everything)
    if first > budget / 2:
        return _decided({1: [alone], everything: [first]})
    block = max(1, int(min(_BLOCK_SECONDS, budget / 6) / alone))
    times: dict[int, list[float]] = {1: [], everything: []}
    while True:
        for threads, found in times.items():
            found.append(seconds(threads, block))
        spent, rounds = time.perf_counter() - began, len(times[1])
        if spent + spent / rounds > budget:
            return _decided(times)


def _decided(times: Mapping[int, list[float]]) -> Threads:
    """The faster number of threads; one where all save less than `_GAIN`."""
    typical = {threads: 1e3 * statistics.median(found) for threads, found in times.items()}
    everything = max(typical)
    number = everything if typical[everything] < (1 - _GAIN) * typical[1] else 1
    measured = ", ".join(f"{value:.3g} ms with {threads}" for threads, value in typical.items())
    return Threads(number, f"a step takes {measured}", typical)
