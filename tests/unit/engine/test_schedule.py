"""Schedules take the values their equations give."""

from __future__ import annotations

import math

import pytest

from weft.config.sections import Constant, Cosine, HeldOut, Plateau
from weft.engine.schedule import ConstantSchedule, CosineSchedule, HeldOutSchedule, PlateauSchedule


def test_cosine_warms_up_then_falls_to_its_floor() -> None:
    schedule = CosineSchedule(Cosine(warmup=0.1, min_lr=0.1), 100)
    assert [schedule.factor(e) for e in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert schedule.factor(10) == 1.0
    assert schedule.factor(55) == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 45 / 90))
    assert schedule.factor(99) == 0.1


def test_zero_first_makes_the_first_step_idle() -> None:
    schedule = CosineSchedule(Cosine(warmup=0.1, zero_first=True), 100)
    assert [schedule.factor(e) for e in (0, 5, 10)] == [0.0, 0.5, 1.0]


def test_constant_warms_up_and_stays() -> None:
    assert [ConstantSchedule(Constant(warmup=0.5), 4).factor(e) for e in range(4)] == [0.5, 1, 1, 1]
    assert ConstantSchedule(Constant(), 4).factor(0) == 1.0


@pytest.mark.parametrize("offset", [10.0, -10.0])
def test_plateau_cuts_after_patience_and_goes_on_from_its_state(offset: float) -> None:
    config = Plateau(factor=0.5, patience=1, window=2, rtol=1e-3, min_lr=0.3)
    schedule = PlateauSchedule(config, 100)
    factors = []
    for loss in [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]:
        schedule.observe(loss + offset)
        factors.append(schedule.factor(0))
        again = PlateauSchedule(config, 100)
        again.load(schedule.state())
        schedule = again
    # Windows: 1 (best), 0 (better), then 0, 0 (second bad one cuts), 0, 0 (cuts to the floor).
    assert factors == [1, 1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.3]


def test_held_out_cuts_after_patience_evaluations_whatever_small_gains() -> None:
    config = HeldOut(factor=0.5, patience=2, margin=0.1, min_lr=0.3)
    schedule, factors = HeldOutSchedule(config, 100), []
    for value in [1.0, 0.95, 0.5, 0.5, 0.45, math.nan, 0.5]:
        schedule.judge(value)
        factors.append(schedule.factor(0))
        again = HeldOutSchedule(config, 100)
        again.load(schedule.state())
        schedule = again
    # Best 1, a gain within the margin, best 0.5, two that are none (cut), two more (to the floor).
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.3]
