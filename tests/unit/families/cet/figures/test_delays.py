"""Figures over many runs show the rules at their delays, chosen on held-out items."""

from __future__ import annotations

from typing import Any

import pytest

from weft.families.cet.config import Config
from weft.families.cet.figures.delays import chosen, figures, result_of

Run = tuple[dict[str, Any], dict[str, float]]


def run(accuracy: float, held_out: float | None = None, lr: float = 1e-3, **values: Any) -> Run:
    config = Config(steps=1, batch_size=32, **values).plain()
    config["optim"] = {"kind": "adamw", "lr": lr}
    metrics = {"test/accuracy": accuracy, "sim_centred/w1": accuracy / 2}
    return config, metrics if held_out is None else {**metrics, "val/accuracy": held_out}


RUNS = [
    run(0.95, delay=0, seed=0),
    run(0.90, delay=5, order=1, seed=0),
    run(0.92, delay=5, order=1, seed=1),
    run(0.80, delay=10, order=1),
    run(0.94, delay=5, order=6),
    run(0.91, delay=10, order=6),
]


def test_accuracy_is_drawn_over_seconds_beside_back_propagation() -> None:
    (name, _, figure), *others = figures(RUNS)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert name == "over_delay" and [other[0] for other in others] == ["agreement", "traces"]
    assert set(lines["back-propagation"].get_ydata()) == {0.95}
    points = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    assert set(points) == {"ET", "CET(6)"}
    assert list(points["ET"].get_xdata()) == pytest.approx([1.0, 2.0])
    assert list(points["ET"].get_ydata()) == pytest.approx([0.91, 0.80])


def test_a_rate_is_chosen_on_held_out_items_never_by_the_test() -> None:
    runs = [run(0.99, 0.5, lr=1e-2, delay=5), run(0.9, 0.8, lr=1e-3, delay=5)]
    found = [result for each in runs if (result := result_of(*each))]
    assert [result.accuracy for result in chosen(found)] == [0.9]


def test_runs_without_a_number_and_a_single_rule_draw_nothing() -> None:
    assert list(figures([run(float("nan"), delay=5), run(0.9, delay=5)])) == []
