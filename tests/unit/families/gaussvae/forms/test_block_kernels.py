"""The compiled passes of a block: their random numbers, and ELU near 0 and far below."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from weft.families.gaussvae.forms import block_kernels


def ended(x: np.ndarray, drops: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """elu(x) with dropout, (R, C)."""
    known = np.zeros((4, x.shape[1]), np.float32)
    known[0], y = 1, np.empty_like(x)
    block_kernels.forth(0, 1, len(x), x, known, drops, np.float32(gain), 1, y)
    return y


def test_masks_are_as_random_as_coins() -> None:
    share, lags, rng = 0.1, (1, 16, 64, 4096, 65536), np.random.default_rng(0)
    calls, ones = 24, np.ones((1 << 14, 16), np.float32)
    squares, last = dict.fromkeys(("count", "call", *lags), 0.0), None
    for _ in range(calls):
        drops = np.array([*rng.integers(0, 1 << 32, 2), round(share * 2**32)], np.uint32)
        off = ended(ones, drops).ravel().astype(np.float64) - (1 - share)
        spread, count = share * (1 - share), off.size
        squares["count"] += off.sum() ** 2 / spread / count
        for lag in lags:
            squares[lag] += (off[:-lag] @ off[lag:]) ** 2 / spread**2 / (count - lag)
        squares["call"] += 0 if last is None else (off @ last) ** 2 / spread**2 / count
        last = off
    # Chi-square of 24 degrees exceeds 56 once in 4,000 times.
    assert all(value < 56 for value in squares.values()), squares


def test_elu_is_exact_to_rounding() -> None:
    magnitudes = np.geomspace(1e-30, 200, 8000)
    x = np.concatenate([-magnitudes, magnitudes, [0.0, -np.inf]]).astype(np.float32)
    x = np.resize(x, (len(x) // 16 + 1, 16))
    y = ended(x, np.zeros(3, np.uint32)).astype(np.float64)
    wide = x.astype(np.float64)
    true = np.where(wide > 0, wide, np.expm1(np.minimum(wide, 0)))
    assert (np.abs(y - true) <= 3e-7 * np.abs(true)).all()


def test_what_is_no_number_stays_so() -> None:
    x = np.full((1, 16), np.nan, np.float32)
    assert np.isnan(ended(x, np.zeros(3, np.uint32))).all()
