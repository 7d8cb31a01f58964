"""Figures show what they are given: axes, colours and captions, without opening a window."""

from __future__ import annotations

import math

import pytest
import torch

from weft.families.warp.figures import canvas, film, portrait, report
from weft.families.warp.figures.report import Forecast


def forecast(channels: int = 1, steps: int = 16, *, uncertain: bool = True) -> Forecast:
    truth = torch.rand(9, steps, channels) * 2 - 1
    std = torch.full_like(truth, 0.3) if uncertain else None
    return Forecast(truth, truth + 0.1, std, 6)


def test_completions_keep_the_given_pixels_and_tint_the_rest() -> None:
    data = forecast()
    name, caption, figure = canvas.pictures(data, (4, 4), -1.0)
    assert name == "completions" and "first 6 of 16 pixels" in caption
    truth, given, completed, deviation = (figure.axes[row * 8].images[0] for row in range(4))
    assert given.get_array().mask.sum() == deviation.get_array().mask.sum() + 4 == 10
    flat = completed.get_array().flatten()
    assert flat[:6].tolist() == pytest.approx(truth.get_array().flatten()[:6].tolist())
    assert flat[6:].tolist() == pytest.approx((data.mean[0, 6:, 0]).tolist())


def test_colour_pictures_are_scaled_to_what_a_screen_shows() -> None:
    _, _, figure = canvas.pictures(forecast(3, uncertain=False), (4, 4), -1.0)
    assert len(figure.axes) == 3 * 8
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (4, 4, 3) and shown.min() >= 0 and shown.max() <= 1


def test_the_band_of_a_forecast_is_two_deviations_wide() -> None:
    data = forecast()
    _, caption, figure = report.series(data)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    at_three = band[band[:, 0] == 3][:, 1]
    assert at_three.max() - at_three.min() == pytest.approx(4 * 0.3, rel=1e-5)
    assert "two standard deviations" in caption


def test_a_shorter_sequence_begins_where_it_does() -> None:
    data = forecast()
    start = torch.tensor([5, *[0] * 8])
    _, _, figure = report.series(Forecast(data.truth, data.mean, None, 0, start))
    assert figure.axes[0].lines[0].get_xdata()[0] == 5


def test_errors_of_given_steps_are_drawn_apart() -> None:
    _, caption, figure = report.error_by_step(torch.rand(16), 6, torch.rand(16))
    pale, model, repeated = figure.axes[0].lines
    assert len(pale.get_xdata()) == 7 and model.get_xdata()[0] == 6
    assert "first 6 steps" in caption and repeated.get_label().startswith("last given")


def test_contexts_state_their_numbers() -> None:
    rows = [{"mse": 0.5, "bpd": 1.25, "mae": 9.0}, {"mse": 0.25, "bpd": 1.0, "mae": 9.0}]
    _, caption, figure = report.by_context([3, 8], rows, 40)
    assert "L = 8: MSE 0.25, bits per dimension 1" in caption and "40 held-out" in caption
    assert len(figure.axes) == 2


def test_the_true_class_is_marked() -> None:
    chance = torch.full((4, 7, 3), 1 / 3)
    _, _, figure = report.classes_over_time(chance, torch.tensor([2, 0, 1, 1]), torch.rand(7))
    assert [axes.lines[0].get_ydata()[0] for axes in figure.axes[:4]] == [2, 0, 1, 1]


def test_stability_needs_two_evaluations() -> None:
    row = {"step": 5, "val/max_theta": 1.0, "val/spectral_radius": 1.01}
    assert list(portrait.stability([row])) == []
    [(_, _, figure)] = portrait.stability([row, {**row, "step": 10}, {"step": 11}])
    assert len(figure.axes) == 2


def test_the_last_weights_are_drawn_between_steps() -> None:
    truth = torch.rand(3, 5, 1)
    _, _, figure = report.between_steps(truth, torch.rand(3, 17, 1), 4)
    dots, line = figure.axes[0].lines
    assert len(dots.get_ydata()) == 5
    assert line.get_xdata()[-1] == 4


def test_eigenvalues_are_those_of_the_matrix_and_large_ones_go_without() -> None:
    turn = torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    _, _, figure = portrait.transition(1.1 * turn)
    points = figure.axes[2].lines[1]
    assert sorted(points.get_ydata()) == pytest.approx([-1.1 * math.sin(0.3), 1.1 * math.sin(0.3)])
    assert "1.1000" in figure.axes[2].get_xlabel()


def test_a_large_change_of_one_entry_survives_shrinking() -> None:
    matrix = torch.eye(900)
    matrix[700, 13] = 5.0
    figure = portrait.transition(matrix)[2]
    assert figure.axes[0].images[0].get_array().max() == 5.0


def test_weight_paths_lie_in_the_plane_of_largest_variance() -> None:
    steps = torch.linspace(-1, 1, 12)
    theta = torch.zeros(3, 12, 20)
    theta[..., 4] = 5 * steps
    theta[..., 9] = torch.tensor([0.0, 0.5, 1.0])[:, None]
    _, _, figure = portrait.weight_paths(theta, None)
    path = figure.axes[0].collections[0].get_segments()
    assert abs(path[0][0][0] - path[-1][1][0]) == pytest.approx(10, rel=1e-3)
    assert len(figure.axes) == 2  # the steps' colour bar


def test_classes_colour_the_paths() -> None:
    _, _, figure = portrait.weight_paths(torch.randn(3, 5, 8), torch.tensor([0, 1, 0]))
    colours = [tuple(lines.get_color()[0]) for lines in figure.axes[0].collections]
    assert colours[0] == colours[2] != colours[1]


def test_frames_of_pictures_have_a_row_for_each_reading() -> None:
    truth, held = torch.rand(2, 16, 1), torch.rand(3, 2, 16, 1)
    frames = film.pixel_frames(truth, {"completed": held}, [1, 8, 15], (4, 4), -1.0)
    assert len(frames) == 3 and len({frame.size for frame in frames}) == 1
    assert frames[0].tobytes() != frames[2].tobytes()


def test_frames_of_curves_move_with_what_is_given() -> None:
    truth, mean = torch.rand(10, 2), torch.rand(2, 10, 2)
    frames = film.curve_frames(truth, mean, torch.ones_like(mean), [2, 7])
    assert frames[0].size == frames[1].size
    assert frames[0].tobytes() != frames[1].tobytes()
