"""Times the cases of a benchmark: median and spread over windows, peak memory, ratios of forms."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from weft.config.explain import suggest
from weft.config.family import resolve
from weft.engine.device import prepare_cpu, prepare_gpu
from weft.engine.isolation import isolated
from weft.errors import UsageError
from weft.machine import cpu_name
from weft.task.bench import Case, Form

_WARM_UP = 2
"""Untimed calls of each form before the timed ones."""


@isolated()
def timed(
    what: str,
    path: str | None,
    full: bool = False,
    pattern: str | None = None,
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Runs a benchmark: the result of `measure`, with the machine under `machine`.

    Args:
        what: a family, or `loop`.
        path: "module:function" that gives its cases; None if it has no benchmark.
        full: whether to measure the slow cases, too.
        pattern: measure only the cases whose names match, slow or not.
        show: called with "case/form" before each form is measured.

    Raises:
        UsageError: if there is no benchmark, or no case matches `pattern`.
    """
    if not path:
        raise UsageError(f"family `{what}` has no benchmark")
    every: list[Case] = list(resolve(path, f"benchmark of `{what}`")())
    if pattern is None:
        taken = [case for case in every if full or not case.full]
    else:
        taken = _called(pattern, every)
    about = machine()
    found = measure(taken, show)
    if any(row.get("device") == "cuda" for row in found["cases"]):
        about |= _gpu()
    return {"machine": about, **found}


def _called(pattern: str, cases: list[Case]) -> list[Case]:
    if found := [case for case in cases if fnmatchcase(case.name, pattern)]:
        return found
    names = [case.name for case in cases]
    raise UsageError(
        f"no case is called `{pattern}`",
        expected=f"one of {', '.join(names)}",
        hint=suggest(pattern, names, "a pattern such as `text-*` takes several"),
    )


def measure(
    cases: Iterable[Case], report: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Times every form of every case.

    Args:
        cases: what to measure.
        report: called with "case/form" before each form is measured.

    Returns:
        `{"cases": [{case, form, device, median_ms, iqr_ms, windows, peak_mib, flops}], "ratios":
        {"case/form:baseline": time over time}}`.
    """
    prepare_cpu()
    if torch.cuda.is_available():
        prepare_gpu()
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for case in cases:
        rows += [{"case": case.name, **row} for row in _measure(case, report)]
        times = {row["form"]: row["median_ms"] for row in rows if row["case"] == case.name}
        for name, taken in times.items():
            for baseline in case.baselines:
                if baseline in times and name != baseline:
                    ratios[f"{case.name}/{name}:{baseline}"] = taken / times[baseline]
    return {"cases": rows, "ratios": ratios}


def machine() -> dict[str, Any]:
    """This machine: processor, cores, threads, torch's version, and `gemm_gflops`, the rate of a
    1024-cube float32 product, against which the floor of a step is reckoned."""
    a = torch.randn(1024, 1024)
    best = min(_timed(lambda: a @ a) for _ in range(10))
    return {
        "cpu": f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "gemm_gflops": round(2 * 1024**3 / best / 1e9, 1),
    }


def _gpu() -> dict[str, Any]:
    """The GPU: its name, and its rate of a 4096-cube float32 product."""
    a = torch.randn(4096, 4096, device="cuda")

    def product() -> None:
        a @ a
        torch.cuda.synchronize()

    best = min(_timed(product) for _ in range(10))
    return {
        "gpu": torch.cuda.get_device_name(),
        "gpu_gemm_gflops": round(2 * 4096**3 / best / 1e9, 1),
    }


def _measure(case: Case, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Builds and warms up each form by itself, to see its memory, then times all of them in turns,
    so that a slow moment of the machine falls on all.

    Freed memory is returned to the system before each warm-up step; otherwise what the allocator
    keeps of earlier steps would count towards the peak.
    """
    forms: dict[str, Form] = {}
    peaks: dict[str, float] = {}
    for name, build in case.forms.items():
        report(f"{case.name}/{name}")
        before, held = _reset_peak(), _reset_gpu_peak()
        forms[name] = build()
        highest = _peak_bytes()
        for _ in range(_WARM_UP):
            _reset_peak()
            forms[name].step()
            highest = max(highest, _peak_bytes())
        grown = highest - before
        if forms[name].device == "cuda":
            grown = torch.cuda.max_memory_allocated() - held
        peaks[name] = grown / 2**20
    times: dict[str, list[float]] = {name: [] for name in forms}
    for window in range(max(form.windows for form in forms.values())):
        for name, form in forms.items():
            if window < form.windows:
                taken = _timed(form.step, form.steps_per_window)
                times[name].append(1e3 * taken / form.steps_per_window)
    rows = []
    for name, form in forms.items():
        quartiles = statistics.quantiles(times[name], n=4)
        rows.append(
            {
                "form": name,
                "device": form.device,
                "median_ms": statistics.median(times[name]),
                "iqr_ms": quartiles[2] - quartiles[0],
                "windows": form.windows,
                "peak_mib": peaks[name],
                "flops": form.flops,
            }
        )
    return rows


def _timed(action: Callable[[], object], times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        action()
    return time.perf_counter() - start


def _reset_peak() -> int:
    """Returns unused memory to the system and resets the kernel's record of peak memory.

    Returns: resident bytes now. Only Linux has such a record; elsewhere 0 is returned, and the peak
        is that of the whole process so far.
    """
    gc.collect()
    if not Path("/proc/self/clear_refs").exists():
        return 0
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def _reset_gpu_peak() -> int:
    """Resets torch's record of the GPU's peak memory, and returns the bytes in use now."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _peak_bytes() -> int:
    if Path("/proc/self/status").exists():
        return _status_bytes("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0
