"""The benchmark runner reports what it was given to measure."""

from __future__ import annotations

import time

import pytest
import torch

from weft.engine.bench import measure
from weft.metrics.timing import Case, Form


def _sleeper(seconds: float, mib: int) -> Form:
    def step() -> None:
        time.sleep(seconds)
        torch.ones(mib << 18).sum()

    return Form(step, flops=7, windows=3, steps_per_window=1)


def test_times_memory_and_ratios_are_those_of_the_work() -> None:
    forms = {"fast": lambda: _sleeper(0.002, 32), "slow": lambda: _sleeper(0.2, 1)}
    result = measure([Case("nap", forms, ("slow",))], full=False)
    fast, slow = result["cases"]
    assert (fast["case"], fast["form"], fast["flops"], fast["windows"]) == ("nap", "fast", 7, 3)
    assert 2 <= fast["median_ms"] < slow["median_ms"]
    assert slow["median_ms"] >= 200
    assert fast["peak_mib"] == pytest.approx(32, abs=16)
    assert slow["peak_mib"] < 16
    assert result["ratios"] == {"nap/fast:slow": fast["median_ms"] / slow["median_ms"]}


def test_slow_cases_wait_for_full() -> None:
    case = Case("long", {"only": lambda: _sleeper(0, 1)}, (), full=True)
    assert measure([case], full=False)["cases"] == []
    assert len(measure([case], full=True)["cases"]) == 1
