"""The benchmark runner reports what it was given to measure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from weft.engine import bench
from weft.task.bench import Case, Form

metered = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux can restart its peak meter"
)


def _form(step: Callable[[], object]) -> Callable[[], Form]:
    return lambda: Form(step, flops=7, windows=3, steps_per_window=2)


def _peaks(**steps: Callable[[], object]) -> dict[str, float]:
    case = Case("memory", {name: _form(step) for name, step in steps.items()}, ())
    return {row["form"]: row["peak_mib"] for row in bench.measure([case])["cases"]}


def test_times_and_ratios_are_those_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(bench, "_reset_peak", lambda: 0)  # It looks for garbage in all there is.
    forms = {"fast": _form(lambda: work(0.125)), "slow": _form(lambda: work(0.5))}
    result = bench.measure([Case("nap", forms, ("slow",))])
    fast, slow = result["cases"]
    assert (fast["case"], fast["form"], fast["flops"], fast["windows"]) == ("nap", "fast", 7, 3)
    assert (fast["median_ms"], slow["median_ms"]) == (125, 500)
    assert (fast["iqr_ms"], slow["iqr_ms"]) == (0, 0)
    assert result["ratios"] == {"nap/fast:slow": 0.25}


@metered
def test_peak_memory_is_that_of_each_form() -> None:
    peaks = _peaks(
        large=lambda: torch.ones(64 << 18).sum(),  # 64 MiB of float32
        small=lambda: torch.ones(1 << 18).sum(),
    )
    assert 48 < peaks["large"] < 96
    assert peaks["small"] < 24


GROWING = """
from itertools import chain, repeat
import torch
from weft.engine import bench
from weft.task.bench import Case, Form

sizes, kept = chain([16, 20], repeat(1)), []

def step():
    block = torch.ones(next(sizes) << 18)
    kept.append(block[:4096].clone())  # keeps the next block from growing where this one was

form = lambda: Form(step, flops=7, windows=3, steps_per_window=2)
print(bench.measure([Case("memory", {"growing": form}, ())])["cases"][0]["peak_mib"])
"""


@metered
def test_memory_freed_by_an_earlier_step_does_not_count() -> None:
    # In a process of its own: what other tests freed would serve the blocks.
    told = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, check=True)
    assert 16 < float(told.stdout) < 28


def _cases() -> list[Case]:
    return [Case("short-1", {}, ()), Case("short-2", {}, ()), Case("long", {}, (), full=True)]


def _named(cases: Sequence[Case], report: Callable[[str], None]) -> dict[str, Any]:
    return {"cases": [{"case": case.name} for case in cases]}


@pytest.mark.parametrize(
    ("full", "pattern", "taken"),
    [
        (False, None, ["short-1", "short-2"]),
        (True, None, ["short-1", "short-2", "long"]),
        (False, "long", ["long"]),
        (True, "short-*", ["short-1", "short-2"]),
    ],
)
def test_slow_cases_wait_for_full_or_for_their_name(
    full: bool, pattern: str | None, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "resolve", lambda path, what: _cases)
    # How each is measured is told above, and takes a second.
    monkeypatch.setattr(bench, "measure", _named)
    monkeypatch.setattr(bench, "machine", dict)
    told = bench.timed("any", "a:path", full, pattern)
    assert [row["case"] for row in told["cases"]] == taken


def test_the_machine_is_told_with_the_rate_of_its_products() -> None:
    told = bench.machine()
    assert told["threads"] >= 1 and told["torch"] == str(torch.__version__)
    assert told["gemm_gflops"] > 0
