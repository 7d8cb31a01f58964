"""The curve of a scalar is in order, without gaps, and has each step once."""

from __future__ import annotations

from weft.plots.history import curve_of

ROWS = (
    {"step": 2, "val/loss": 3, "train/loss": 1.0},
    {"step": 1, "val/loss": None},
    {"step": 4, "train/loss": 0.5},
    {"step": 3, "val/loss": 2.5},
    {"step": 2, "val/loss": 2.0},
)


def test_a_curve_is_sorted_and_the_last_row_of_a_step_counts() -> None:
    assert curve_of(ROWS, "val/loss") == [(2, 2.0), (3, 2.5)]


def test_a_scalar_that_no_row_has_is_an_empty_curve() -> None:
    assert curve_of(ROWS, "test/loss") == []
