"""Means and deviations of splats: numpy's own, and what a file may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weft.errors import DataError
from weft.families.gaussvae.splats.statistics import (
    read_statistics,
    statistics,
    write_statistics,
)

SPLATS = np.random.default_rng(0).normal(1000, 1e-2, (1500, 3, 8)).astype(np.float32)


@pytest.mark.parametrize(("per_index", "axes"), [(False, (0, 1)), (True, (0,))])
def test_they_are_numpy_s_in_double_precision(per_index: bool, axes: tuple[int, ...]) -> None:
    found = statistics(SPLATS, "rs", per_index=per_index)
    wide = SPLATS.astype(np.float64)
    assert found.mean == pytest.approx(wide.mean(axes), rel=1e-6)
    assert found.std == pytest.approx(wide.std(axes), rel=1e-4)


def test_a_constant_column_gets_no_zero_to_divide_by() -> None:
    assert (statistics(np.ones((4, 2, 8), np.float32), "rs").std == np.float32(1e-6)).all()


@pytest.mark.parametrize("per_index", [False, True])
def test_a_file_gives_back_what_was_written(tmp_path: Path, per_index: bool) -> None:
    wanted = statistics(SPLATS, "logcov", per_index=per_index)
    path = tmp_path / "normalization_stats.npz"
    write_statistics(path, wanted)
    found = read_statistics(path)
    assert np.array_equal(found.mean, wanted.mean) and np.array_equal(found.std, wanted.std)
    assert found.layout == "logcov"


@pytest.mark.parametrize(
    "held",
    [
        {"mean": np.zeros(8, np.float32), "std": np.ones(8, np.float32)},
        {"mean": np.zeros(8), "std": np.zeros(8), "layout": "rs"},
        {"mean": np.zeros(8), "std": np.full(8, np.nan), "layout": "rs"},
        {"mean": np.zeros(7), "std": np.ones(7), "layout": "rs"},
        {"mean": np.zeros((2, 8)), "std": np.ones(8), "layout": "rs"},
    ],
)
def test_other_files_are_refused(tmp_path: Path, held: dict[str, object]) -> None:
    np.savez(tmp_path / "other.npz", **held)
    with pytest.raises(DataError):
        read_statistics(tmp_path / "other.npz")
