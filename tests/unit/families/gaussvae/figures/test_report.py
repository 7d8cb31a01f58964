"""Figures say what they show: ellipses where splats lie, floors beside groups."""

from __future__ import annotations

import math

import pytest
import torch
from matplotlib.collections import EllipseCollection

from weft.families.gaussvae.figures.panels import histogram, panels
from weft.families.gaussvae.figures.report import curves


def test_ellipses_have_the_axes_and_the_turn_of_their_splats() -> None:
    # Twice as long as wide, half a turn of 90 degrees: along the diagonal.
    r = math.log(2)
    splat = torch.tensor([[[0.5, 0.25, 2 * math.log(3), 0.0, r, 1, 1, 1]]])
    figure = panels({"fit": torch.zeros(1, 3, 20, 40)}, outlines={"fit": splat})
    (shapes,) = [c for c in figure.axes[0].collections if isinstance(c, EllipseCollection)]
    # matplotlib keeps half axes.
    assert float(shapes.get_widths()[0]) == pytest.approx(2 * 3 * 2**0.5)
    assert float(shapes.get_heights()[0]) == pytest.approx(2 * 3 / 2**0.5)
    assert float(shapes.get_angles()[0]) == pytest.approx(45)
    assert shapes.get_offsets().tolist() == [[19.5, 4.5]]


def test_a_splat_as_large_as_the_picture_hides_nothing() -> None:
    splat = torch.tensor([[[0.5, 0.5, 2 * math.log(15), 0.0, 0.0, 1, 1, 1]]])
    figure = panels({"fit": torch.zeros(1, 3, 20, 20)}, outlines={"fit": splat})
    (shapes,) = [c for c in figure.axes[0].collections if isinstance(c, EllipseCollection)]
    assert len(shapes.get_offsets()) == 0


def test_decoded_pictures_bear_their_psnr_and_the_truth_none() -> None:
    wanted = torch.full((2, 3, 4, 4), 0.5)
    figure = panels({"picture": wanted, "decoded": wanted + 0.1}, wanted)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["", "", "20.0 dB", "20.0 dB"]


def test_the_histogram_marks_each_mean() -> None:
    figure = histogram({"fit": torch.tensor([1.0, 3.0]), "decoded": torch.tensor([5.0])})
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [2.0, 5.0]


def test_groups_over_time_stand_beside_their_floors() -> None:
    groups = ("xy", "scale", "rot", "feat")
    rows = [
        {"step": step, **{f"val/fvu_{g}": 1 / step for g in groups},
         **{f"val/floor_{g}": 0.7 for g in groups}}
        for step in (1, 2, 4)
    ]  # fmt: skip
    ((_, _, figure),) = curves(rows)
    lines = figure.axes[0].lines
    measured = [line for line in lines if list(line.get_ydata()) == [1, 0.5, 0.25]]
    floors = [line for line in lines if list(line.get_ydata()) == [0.7, 0.7]]
    assert (len(measured), len(floors)) == (4, 4)
    assert list(curves([{"step": 1, "train/loss": 2.0}])) == []
    ((_, _, figure),) = curves(rows[:1])
    assert sum(line.get_marker() == "o" for line in figure.axes[0].lines) == 4
