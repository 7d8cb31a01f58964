"""Names of lines stand where the lines end, and never on top of each other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from weft.plots.labels import _spread, label_ends


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=10), st.floats(0.01, 0.09))
def test_labels_are_moved_apart_and_stay_in_order(heights: list[float], gap: float) -> None:
    moved = _spread(sorted(heights), gap)
    assert len(moved) == len(heights)
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(moved))
    assert max(moved) <= 1 + 1e-9


def test_labels_that_do_not_touch_stay_where_the_lines_end() -> None:
    assert _spread([0.1, 0.5, 0.9], 0.05) == [0.1, 0.5, 0.9]
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 2)
    label_ends(axes, [(1.0, "one", "k")])
    assert axes.texts[0].xy == pytest.approx((1.0, 0.5))


def test_a_long_name_beside_a_line_keeps_its_start_and_its_end() -> None:
    axes = Figure().add_subplot()
    label_ends(axes, [(1.0, "a-name-" * 20 + "seed=3", "k"), (0.0, "short", "k")])
    long, short = sorted((text.get_text() for text in axes.texts), key=len, reverse=True)
    assert long.startswith("a-name-") and long.endswith("seed=3") and len(long) < 40
    assert short == "short"
