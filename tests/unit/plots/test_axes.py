"""Axes say what was asked of them, and a bare picture says nothing."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from weft.plots.axes import bare, key_beside, label_axes, marks


def test_title_and_both_axes_are_named() -> None:
    axes = Figure().add_subplot()
    label_axes(axes, "title", "across", "up")
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("title", "across", "up")


@pytest.mark.parametrize("frame", [None, "0.8"])
def test_a_bare_picture_keeps_at_most_its_frame(frame: str | None) -> None:
    axes = Figure().add_subplot()
    bare(axes, frame)
    assert axes.get_xticks().size == axes.get_yticks().size == 0
    assert {spine.get_visible() for spine in axes.spines.values()} == {frame is not None}


def test_the_key_stands_to_the_right_of_the_axes() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], label="line")
    key_beside(axes, "lines")
    figure.draw_without_rendering()
    key = axes.get_legend()
    assert key.get_title().get_text() == "lines"
    assert key.get_window_extent().x0 >= axes.get_window_extent().x1


def test_axes_on_which_nothing_has_a_name_get_no_key() -> None:
    axes = Figure().add_subplot()
    axes.plot([0, 1])
    key_beside(axes)
    assert axes.get_legend() is None


def test_the_points_of_a_line_of_few_are_marked() -> None:
    assert [marks(points) for points in (1, 40, 41)] == ["o", "o", ""]
