"""The table of a benchmark."""

from __future__ import annotations

from weft.reports.speed import speeds


def test_a_form_is_as_many_times_faster_as_its_baseline_takes_longer() -> None:
    found = {
        "machine": {"gemm_gflops": 100.0, "gpu_gemm_gflops": 5000.0},
        "cases": [
            {"case": "step", "form": "weft", "device": "cpu", "median_ms": 2.0, "flops": 5e7},
            {"case": "step", "form": "reference", "device": "cpu", "median_ms": 3.0, "flops": 6e7},
            {"case": "batch", "form": "weft", "device": "cpu", "median_ms": 1.0, "flops": None},
            {"case": "card", "form": "weft", "device": "cuda", "median_ms": 0.1, "flops": 5e7},
        ],
        "ratios": {"step/weft:reference": 2 / 3},
    }
    assert speeds(found).rows == (
        {"case": "step", "weft": 2.0, "reference": 3.0, "floor": 0.5, "weft x reference": 1.5},
        {"case": "batch", "weft": 1.0},
        {"case": "card", "weft": 0.1, "floor": 0.01},
    )
