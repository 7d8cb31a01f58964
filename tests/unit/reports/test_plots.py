"""Figures show the numbers they were given, in colours that everyone can tell apart."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weft.plots.images import svg
from weft.reports.curves import _smooth, _thin, curves
from weft.reports.sweep_plot import sweep_plot
from weft.reports.tables import Column, Mean, Table
from weft.task.metric import Metric


def history(steps: int = 200) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for step in range(10, 10 * steps + 1, 10):
        share = step / (10 * steps)
        row: dict[str, Any] = {"step": step, "epoch": share, "seconds": share}
        row["train/loss"] = 2.3 * math.exp(-5 * share + random.normal(0, 0.3))
        row["opt/lr"] = 1e-3 * (1 - share)
        row["opt/grad_norm"] = 1.0 + random.normal(0, 0.1)
        row["sim/w1"], row["sim/w2"] = share, 1 - share
        if step % 500 == 0:
            row |= {"val/loss": math.exp(-3 * share), "val/accuracy": share, "test/loss": share}
        rows.append(row)
    return rows


def drawn(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def named(rows: list[dict[str, Any]]) -> dict[str, Figure]:
    return {name: figure for name, _, figure in curves(rows)}


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_each_quantity_has_a_figure_with_its_splits_together() -> None:
    figures = named(history())
    assert list(figures) == ["loss", "sim", "accuracy", "opt-lr", "opt-grad_norm"]
    ends = {label.split()[0] for label in labels(drawn(figures["loss"]))}
    assert ends == {"train", "val", "test"}
    assert {label.split()[0] for label in labels(drawn(figures["sim"]))} == {"w1", "w2"}
    assert drawn(figures["opt-lr"]).get_title(loc="left") == "opt/lr"


def test_curves_show_the_numbers_that_were_logged() -> None:
    rows = history()
    axes = drawn(named(rows)["accuracy"])
    (line,) = axes.get_lines()
    kept = [row for row in rows if "val/accuracy" in row]
    assert list(line.get_xdata()) == [row["step"] for row in kept]
    assert list(line.get_ydata()) == [row["val/accuracy"] for row in kept]


def test_noise_is_drawn_faint_under_its_average_and_a_schedule_is_not() -> None:
    figures = named(history())
    faint = [line for line in drawn(figures["loss"]).get_lines() if line.get_alpha()]
    assert len(faint) == 1
    assert [line.get_alpha() for line in drawn(figures["opt-lr"]).get_lines()] == [None]


def test_a_loss_that_falls_far_has_a_log_scale() -> None:
    rows = [{"step": s, "train/loss": 10.0 ** (-s / 20), "val/accuracy": s / 60} for s in range(60)]
    figures = named(rows)
    assert drawn(figures["loss"]).get_yscale() == "log"
    assert drawn(figures["accuracy"]).get_yscale() == "linear"
    # A value that is not positive has no place on a log scale.
    rows[3]["train/loss"] = 0.0
    assert drawn(named(rows)["loss"]).get_yscale() == "linear"


def test_a_number_that_was_none_leaves_a_gap() -> None:
    rows = [{"step": s, "train/loss": None if s == 2 else 1.0 + s} for s in range(1, 5)]
    (line,) = drawn(named(rows)["loss"]).get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [2.0, np.nan, 4.0, 5.0])


def test_of_a_step_that_was_done_twice_the_later_row_counts() -> None:
    rows = [{"step": s, "train/loss": v} for s, v in [(1, 5.0), (2, 6.0), (3, 7.0), (2, 4.0)]]
    (line,) = drawn(named(rows)["loss"]).get_lines()
    assert list(line.get_ydata()) == [5.0, 4.0, 7.0]


@pytest.mark.parametrize("rows", [[], [{"step": 1, "train/loss": None}], [{"step": 1}]])
def test_nothing_logged_is_nothing_drawn(rows: list[dict[str, Any]]) -> None:
    assert curves(rows) == []


def test_a_single_row_can_be_drawn() -> None:
    ((_, caption, figure),) = curves([{"step": 7, "train/loss": 1.5}])
    svg(figure)
    assert caption == "Logged at one step alone."


def test_terms_that_are_one_measure_say_what_it_is() -> None:
    row = {"step": 1, "val/error_0": 1.0, "val/error_1": 2.0}
    ((_, caption, _),) = curves(
        [row, {**row, "step": 2}], [Metric("error_*", "lower", "", "Of a frame.")]
    )
    assert caption.startswith("Of a frame. Numbers at the right")


def test_terms_of_a_loss_share_a_figure_but_not_with_the_loss() -> None:
    row = {"step": 1, "train/loss": 3.0, "train/loss_kl": 1.0, "train/loss_image": 2.0}
    figures = named([row, {**row, "step": 2}])
    assert list(figures) == ["loss", "loss-terms"]
    assert labels(drawn(figures["loss"])) == ["train  3"]
    assert labels(drawn(figures["loss-terms"])) == ["kl  1", "image  2"]


def test_terms_share_a_figure_where_unit_and_direction_are_the_same() -> None:
    row = {"step": 1, "val/kl_loss": 1.0, "val/kl_nats": 2.0, "val/mpc_miss": 3.0}
    row |= {"val/mpc_still": 4.0, "val/mpc_success": 0.5, "val/mpc_share": 0.6}
    known = [Metric("kl_nats", "lower", "nats"), Metric("mpc_s[uh]*", "higher")]
    known.append(Metric("mpc_*", "lower", "px"))
    figures = {name: drawn(figure) for name, _, figure in curves([row], known)}
    assert {name: axes.get_ylabel() for name, axes in figures.items()} == {
        "kl_loss": "",
        "kl_nats": "nats, lower is better",
        "mpc-px-lower-is-better": "px, lower is better",
        "mpc-higher-is-better": "higher is better",
    }


def test_a_standard_error_is_a_band_and_no_curve_of_its_own() -> None:
    rows = [
        {"step": n, "val/gain": 2.0 * n, "val/gain_se": 0.5, "val/lone_se": 1.0} for n in (1, 2)
    ]
    figures = {name: (caption, figure) for name, caption, figure in curves(rows)}
    assert list(figures) == ["gain", "lone_se"]
    caption, figure = figures["gain"]
    assert "Bands are standard errors." in caption
    (band,) = drawn(figure).collections
    (edge,) = band.get_paths()
    assert edge.get_extents().bounds == pytest.approx((1, 1.5, 1, 3))
    assert not drawn(figures["lone_se"][1]).collections


def test_smoothing_has_no_lag_and_keeps_a_constant() -> None:
    random = np.random.default_rng(1)
    ramp = np.linspace(0, 1, 600)
    smooth, width = _smooth(ramp + random.normal(0, 0.05, 600))
    assert width > 0
    inner = slice(60, -60)
    assert abs(float(np.mean(smooth[inner] - ramp[inner]))) < 5e-3
    assert float(np.std(smooth[inner] - ramp[inner])) < 0.015
    flat = np.where(np.arange(600) % 7 == 0, np.nan, 3.0)
    flat[1], flat[2] = 3.0 + 1e-12, 3.0 - 1e-12
    kept, _ = _smooth(flat)
    np.testing.assert_allclose(kept[np.isfinite(kept)], 3.0, rtol=1e-10)


def test_thinning_keeps_every_extreme() -> None:
    y = np.zeros(50_000)
    y[12_345], y[33_333] = 7.0, -7.0
    x, thin = _thin(np.arange(50_000), y)
    assert x.size <= 1300 and np.all(np.diff(x) > 0)
    assert thin.max() == 7.0 and thin.min() == -7.0
    assert x[0] == 0 and x[-1] == 49_999


def table(rows: list[dict[str, Any]], *axes: str) -> Table:
    return Table((*(Column(a, role="axis") for a in axes), Column("acc")), tuple(rows))


def test_a_sweep_over_numbers_is_lines_with_error_bars() -> None:
    rows = [
        {"delay": d, "order": o, "acc": Mean(0.9 + o / 1000 - d / 1000, 0.01 * o, 3)}
        for d in (50, 1, 5)
        for o in (1, 2)
    ]
    axes = drawn(sweep_plot(table(rows, "delay", "order"), "acc"))
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == [1, 5, 50]
    for order, container in zip((1, 2), axes.containers, strict=True):
        line, _, (bars,) = container.lines
        assert list(line.get_xdata()) == [1, 5, 50]
        means = [0.9 + order / 1000 - d / 1000 for d in (1, 5, 50)]
        np.testing.assert_allclose(np.array(line.get_ydata(), float), means, rtol=1e-10)
        ends = [[float(end) for end in segment[:, 1]] for segment in bars.get_segments()]
        np.testing.assert_allclose(
            ends, [[y - 0.01 * order, y + 0.01 * order] for y in means], rtol=1e-10
        )
    assert labels(axes) == ["mean ± standard error, 3 seeds", "1", "2", "order"]


@pytest.mark.parametrize(
    ("places", "scale"), [((1, 9), "linear"), ((1, 10), "log"), ((0, 50), "linear")]
)
def test_the_scale_is_logarithmic_from_one_decade_on(places: tuple[int, ...], scale: str) -> None:
    rows = [{"delay": d, "acc": Mean(0.9, None, 1)} for d in places]
    axes = drawn(sweep_plot(table(rows, "delay"), "acc"))
    assert axes.get_xscale() == scale
    assert labels(axes) == ["one seed"]


def test_a_sweep_over_words_is_bars() -> None:
    rows = [
        {"gate": g, "kernel": k, "acc": Mean(0.5 + 0.1 * i, 0.01, n)}
        for i, (g, k, n) in enumerate([("trace", "a", 2), ("trace", "b", 3), ("both", "a", 3)])
    ]
    axes = drawn(sweep_plot(table(rows, "gate", "kernel"), "acc"))
    heights = sorted(patch.get_height() for patch in axes.patches)
    np.testing.assert_allclose(heights, [0.5, 0.6, 0.7])
    assert axes.get_ylim()[0] == 0
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["trace", "both"]
    assert labels(axes)[0] == "mean ± standard error, 2 to 3 seeds"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "no finished runs yet"),
        (Mean(math.nan, math.nan, 2), "no finished run ended in a number"),
    ],
)
def test_a_sweep_without_a_number_says_why(cell: Mean | None, text: str) -> None:
    axes = drawn(sweep_plot(table([{"delay": 1, "acc": cell}], "delay"), "acc"))
    assert labels(axes)[-1] == text
    assert not axes.get_lines()


@pytest.mark.parametrize("places", [(1, 2, 3), ("a", "b", "c")])
def test_a_result_that_is_no_number_is_a_dash_at_its_place(places: tuple[Any, ...]) -> None:
    values = [0.5, math.nan, 0.0]
    rows = [
        {"delay": place, "acc": Mean(value, None, 1)}
        for place, value in zip(places, values, strict=True)
    ]
    axes = drawn(sweep_plot(table([*rows, {"delay": places[0], "acc": None}], "delay"), "acc"))
    (dash,) = [text for text in axes.texts if text.get_text() == "—"]
    assert dash.xy == (2 if places == (1, 2, 3) else 1, 0)


def test_the_axis_of_a_sweep_says_unit_and_direction() -> None:
    loss = Metric("loss", "lower", "nats")
    columns = (Column("delay", role="axis"), Column.of("test/loss", [loss]))
    rows = ({"delay": 1, "test/loss": Mean(0.5, None, 1)},)
    axes = drawn(sweep_plot(Table(columns, rows), "test/loss"))
    assert axes.get_ylabel() == "nats, lower is better"
    assert drawn(sweep_plot(table([{"acc": Mean(0.5, None, 1)}]), "acc")).get_ylabel() == ""


def test_a_curve_says_unit_direction_and_what_is_measured() -> None:
    loss = Metric("loss", "lower", "nats", "Mean cross-entropy.")
    ((_, caption, figure),) = curves([{"step": 1, "val/loss": 1.0}], [loss])
    assert drawn(figure).get_ylabel() == "nats, lower is better"
    assert caption.startswith("Mean cross-entropy. ")


def test_a_sweep_over_seeds_alone_can_be_drawn() -> None:
    axes = drawn(sweep_plot(table([{"acc": Mean(0.5, 0.1, 3)}]), "acc"))
    assert [patch.get_height() for patch in axes.patches] == [0.5]


def test_names_are_text_not_mathematics() -> None:
    rows = [{"x": "$\\frac$", "y$_": "a", "acc": Mean(0.5, None, 1)}]
    assert r"$\frac$" in svg(sweep_plot(table(rows, "x", "y$_"), "acc"))


def test_no_pyplot_is_needed() -> None:
    # pyplot keeps figures alive and may look for a display.
    curves(history(20))
    module = sys.modules.get("matplotlib.pyplot")
    assert module is None or not module.get_fignums()
