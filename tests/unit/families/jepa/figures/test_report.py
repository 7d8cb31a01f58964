"""Figures hold what they were given; nothing is drawn where there is nothing to draw."""

from __future__ import annotations

import io
import math

import pytest
import torch
from matplotlib.figure import Figure

from weft.families.jepa.figures import report
from weft.families.jepa.figures.comparison import (
    NOISES,
    Result,
    chosen,
    figures,
    noise_sweep,
    results_of,
)


def drawn(figure: Figure) -> str:
    """The figure as SVG, which fails if anything in it cannot be drawn."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()


def episodes(dots: int) -> report.Episodes:
    true = 2.6 + 21.8 * torch.rand(3, 17, dots, 2)
    offset = torch.tensor([3.0, 4.0])
    return report.Episodes(torch.rand(3, 17, dots, 28, 28), true, true + offset, 2.6, 24.4)


@pytest.mark.parametrize("dots", [1, 3])
def test_rollouts_state_the_error_of_each_path(dots: int) -> None:
    name, caption, figure = report.rollouts(episodes(dots))
    titles = [axes.get_title(loc="center") + axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["5.0 px"] * 3
    paths = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 17]
    assert len(paths) == 2 * dots
    assert drawn(figure)
    assert (name, "17 frames" in caption) == ("rollouts", True)


def test_the_film_marks_both_positions_on_every_frame_shown() -> None:
    shown = episodes(1)
    _, _, figure = report.film(shown)
    assert len(figure.axes) == 2 * report.FILM_FRAMES
    ring, cross = figure.axes[report.FILM_FRAMES - 1].lines
    assert list(ring.get_xdata()) == pytest.approx([float(shown.true[0, 16, 0, 0])])
    assert list(cross.get_ydata()) == pytest.approx([float(shown.read[0, 16, 0, 1])])
    assert drawn(figure)


def test_reconstructions_share_the_grey_scale_of_the_truth() -> None:
    true = torch.rand(17, 1, 28, 28)
    _, _, figure = report.reconstructions(true, 3 * true)
    pictures = [axes.images[0] for axes in figure.axes]
    assert len(pictures) == 2 * report.FILM_FRAMES
    [limits] = {picture.get_clim() for picture in pictures}
    assert limits == pytest.approx((float(true.min()), float(true.max())))
    assert drawn(figure)


def test_the_error_over_training_needs_two_evaluations() -> None:
    rows = [{"step": 5, "val/step_rmse_px_0": 3.0, "val/step_rmse_px_16": None}, {"step": 7}]
    assert list(report.error_over_training(rows, [9.0] * 17)) == []
    rows.append({"step": 10, "val/step_rmse_px_0": 1.0, "val/step_rmse_px_16": 2.0})
    [(_, _, figure)] = report.error_over_training(rows, [9.0] * 17)
    *_, last, guess = figure.axes[0].lines
    assert (list(last.get_xdata()), list(last.get_ydata())) == ([0, 16], [1.0, 2.0])
    assert list(guess.get_ydata()) == [9.0] * 17


def test_a_noiseless_run_stands_in_every_panel_and_a_noisy_one_in_its_own() -> None:
    config = {"dataset_noise": 0.0, "dataset_static_noise": 0.0,
              "dataset_structured_noise": False, "objective": "idm"}  # fmt: skip
    metrics = {"val/rmse_px": 9.0, "test/rmse_px": 1.5}
    found = results_of(config, metrics)
    assert [r.noise for r in found] == list(NOISES)
    assert {(r.level, r.method, r.rmse, r.validation) for r in found} == {(0.0, "idm", 1.5, 9.0)}
    noisy = config | {"dataset_static_noise": 2.0, "dataset_structured_noise": True}
    [result] = results_of(noisy, metrics)
    assert (result.noise, result.level, result.rmse) == ("fixed structured", 2.0, 1.5)
    three = results_of(config, metrics | {"test/dot_rmse_px_2": 2.0, "test/dot_rmse_px_1": 1.0})
    assert three[0].dots == (1.0, 2.0)


def test_the_noise_sweep_draws_means_and_their_95_percent_intervals() -> None:
    values = (1.0, 2.0, 3.0)
    results = [Result("fixed structured", level, "idm", v) for level in (1.0, 2.0) for v in values]
    _, caption, figure = noise_sweep(results)
    [axes] = figure.axes
    assert list(axes.lines[0].get_ydata()) == [2.0, 2.0]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    # Student's t for two degrees of freedom; the standard deviation of 1, 2, 3 is 1.
    assert band.max() == pytest.approx(2 + 4.30 / math.sqrt(3), abs=1e-3)
    assert "3 seeds with 95 % intervals" in caption


def test_the_setting_drawn_is_the_one_with_most_seeds_and_least_validation_error() -> None:
    def run(lr: float, seed: int, val: float | None, test: float) -> list[Result]:
        config = {"dataset_noise": 1.0, "dataset_static_noise": 0.0, "objective": "idm",
                  "dataset_structured_noise": False, "seed": seed, "optim": {"lr": lr}}  # fmt: skip
        return results_of(config, {"val/rmse_px": val, "test/rmse_px": test})

    lucky = run(3.0, 0, 0.5, 0.4)
    worse = run(1.0, 0, 2.0, 1.0) + run(1.0, 1, 2.2, 1.2)
    better = run(2.0, 0, 1.9, 1.7) + run(2.0, 1, 1.8, 1.9)
    broken = run(4.0, 0, 1.0, 1.0) + run(4.0, 1, None, 9.0)
    assert [r.rmse for r in chosen(lucky + worse + better + broken)] == [1.7, 1.9]


def test_runs_make_the_figures_they_allow_for() -> None:
    config = {"dataset_noise": 0.0, "dataset_static_noise": 1.0,
              "dataset_structured_noise": True, "objective": "vicreg"}  # fmt: skip
    one = [(config, {"test/rmse_px": 8.0})]
    assert list(figures(one)) == []
    two = [*one, (config | {"dataset_static_noise": 2.0}, {"test/rmse_px": 8.5})]
    [(name, _, figure)] = figures(two)
    assert name == "noise_sweep"
    assert figure.axes[0].lines[-1].get_ydata() == pytest.approx([9.37] * 2, abs=0.03)
    still = config | {"dataset_static_noise": 0.0, "dataset_structured_noise": False}
    dots = {"test/rmse_px": 6.0} | {f"test/dot_rmse_px_{k}": float(k) for k in (1, 2, 3)}
    [(name, _, figure)] = figures([(still | {"dataset_type": "Multiple"}, dots)])
    assert name == "dots_kept"
    assert [bar.get_height() for bar in figure.axes[0].patches] == [1.0, 2.0, 3.0]
    kept = [lines for lines in figure.axes[0].collections if lines.get_linestyle()[0][1]]
    heights = [lines.get_segments()[0][0][1] for lines in kept]
    assert heights == pytest.approx([9.37, 9.37, 8.90], abs=0.05)
    assert drawn(figure)
