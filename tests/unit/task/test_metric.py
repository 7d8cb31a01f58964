"""A metric knows which names are its own, and which of two numbers is better."""

from __future__ import annotations

import json
import math

import pytest

from weft.task.metric import Metric, axis_words, declared, find

LOWER, HIGHER = Metric("loss", "lower", "nats", "Mean cross-entropy."), Metric("gain", "higher")


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("step_px_3", True),
        ("val/step_px_3", True),
        ("test/step_px_", True),
        ("other/step_px_3", False),
        ("step_px", False),
        ("val/first/step_px_3", False),
    ],
)
def test_a_metric_covers_its_names_on_every_split_and_no_others(name: str, covered: bool) -> None:
    assert Metric("step_px_*", "lower").covers(name) == covered


@pytest.mark.parametrize(("metric", "better"), [(LOWER, 1.0), (HIGHER, 3.0)])
def test_better_is_by_direction(metric: Metric, better: float) -> None:
    assert metric.improves(better, 2.0)
    assert not metric.improves(2.0, better)


@pytest.mark.parametrize("metric", [LOWER, HIGHER])
def test_a_tie_is_no_improvement(metric: Metric) -> None:
    assert not metric.improves(2.0, 2.0)


@pytest.mark.parametrize("metric", [LOWER, HIGHER])
def test_nan_improves_nothing_and_everything_improves_on_it(metric: Metric) -> None:
    assert not metric.improves(math.nan, None)
    assert not metric.improves(math.nan, 2.0)
    assert not metric.improves(math.nan, math.nan)
    assert metric.improves(2.0, math.nan)
    assert metric.improves(0.0, None)


def test_what_a_run_keeps_of_its_metrics_reads_back() -> None:
    kept = json.loads(json.dumps([LOWER.plain(), HIGHER.plain()]))
    assert declared(kept) == (LOWER, HIGHER)


def test_of_metrics_that_cover_a_name_the_first_is_found() -> None:
    wide = Metric("*", "higher")
    assert find([LOWER, wide], "test/loss") is LOWER
    assert find([wide, LOWER], "test/loss") is wide
    assert find([LOWER], "test/gain") is None


def test_an_axis_says_unit_and_direction() -> None:
    assert axis_words(LOWER) == "nats, lower is better"
    assert axis_words(HIGHER) == "higher is better"
    assert axis_words(None) == ""
