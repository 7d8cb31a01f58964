"""LARS and its schedules against their formulas, one parameter and one step at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weft.families.jepa.optim.lars import Lars, lars
from weft.families.jepa.optim.warmup import CleanSchedule, PublishedSchedule
from weft.families.jepa.options.sections import Clean, Published
from weft.families.jepa.options.sections import Lars as LarsConfig

LR, MOMENTUM, DECAY, ETA = 0.3, 0.9, 1e-2, 1e-3


def literal(p: Tensor, g: Tensor, m: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """One update of one parameter, as the equations say."""
    if p.ndim > 1:
        g = g + DECAY * p
        weight, length = float(p.norm()), float(g.norm())
        g = g * (ETA * weight / length if weight > 0 and length > 0 else 1.0)
    m = MOMENTUM * m + g
    return p - lr * m, m


def test_three_steps_of_lars_equal_the_literal_update() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (2, 3, 5, 5), (7,), (), (3, 4)]
    start = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    parameters = [torch.nn.Parameter(p.clone()) for p in start]
    optimiser = Lars(parameters, LR, MOMENTUM, DECAY, ETA)
    expected, momenta = start, [torch.zeros_like(p) for p in start]
    for step in range(3):
        optimiser.param_groups[0]["lr"] = lr = LR / (step + 1)
        gradients = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimiser.step()
        pairs = [literal(p, g, m, lr) for p, g, m in zip(expected, gradients, momenta, strict=True)]
        expected, momenta = [p for p, _ in pairs], [m for _, m in pairs]
        for parameter, wanted in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.data, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 2.0), (2.0, 0.0)])
def test_a_zero_length_is_not_adapted(weight: float, gradient: float) -> None:
    parameter = torch.nn.Parameter(torch.full((2, 2), weight))
    parameter.grad = torch.full((2, 2), gradient)
    Lars([parameter], LR, MOMENTUM, weight_decay=0.0, eta=ETA).step()
    torch.testing.assert_close(parameter.data, torch.full((2, 2), weight - LR * gradient))


def test_the_length_of_an_update_of_a_matrix_ignores_the_scale_of_its_gradient() -> None:
    moved = []
    for scale in (1.0, 1e4):
        matrix, vector = (torch.nn.Parameter(torch.ones(s).double()) for s in ((3, 3), (3,)))
        matrix.grad = torch.full((3, 3), scale, dtype=torch.float64)
        vector.grad = torch.full((3,), scale, dtype=torch.float64)
        Lars([matrix, vector], LR, weight_decay=0.0).step()
        moved.append([float((p.data - 1).norm()) for p in (matrix, vector)])
    assert moved[0][0] == pytest.approx(LR * ETA * 3, rel=1e-5)
    assert moved[0][0] == pytest.approx(moved[1][0], rel=1e-10)
    assert moved[1][1] == pytest.approx(1e4 * moved[0][1], rel=1e-10)


def test_lars_goes_on_from_its_state_exactly() -> None:
    def build() -> tuple[torch.nn.Parameter, Lars]:
        parameter = torch.nn.Parameter(torch.ones(2, 2))
        return parameter, lars(LarsConfig(), [{"params": [parameter], "lr": 0.1}])

    straight, optimiser = build()
    for _ in range(2):
        straight.grad = torch.arange(4.0).view(2, 2)
        optimiser.step()
    resumed, first = build()
    resumed.grad = torch.arange(4.0).view(2, 2)
    first.step()
    second = lars(LarsConfig(), [{"params": [resumed], "lr": 0.1}])
    second.load_state_dict(first.state_dict())
    resumed.grad = torch.arange(4.0).view(2, 2)
    second.step()
    assert torch.equal(straight, resumed)


def test_parameters_without_a_gradient_stay() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    Lars([parameter], LR).step()
    assert torch.equal(parameter, torch.ones(2, 2))


def test_the_clean_schedule_at_its_corners() -> None:
    schedule = CleanSchedule(Clean(warmup=0.1, min_lr=1e-3), 1001)
    assert schedule.factor(0) == pytest.approx(1 / 100)
    assert schedule.factor(99) == schedule.factor(100) == pytest.approx(1.0)
    assert schedule.factor(550) == pytest.approx(0.5 + 0.5e-3)
    assert schedule.factor(1000) == pytest.approx(1e-3)


@pytest.mark.parametrize("total", [1, 2, 10])
def test_the_clean_schedule_stays_within_its_bounds_however_short(total: int) -> None:
    schedule = CleanSchedule(Clean(), total)
    assert all(1e-3 <= schedule.factor(step) <= 1 for step in range(total))


def test_the_published_schedule_counts_from_one_epoch_and_ends_past_its_floor() -> None:
    batches, epochs = 39, 100
    schedule = PublishedSchedule(Published(warmup=0.1, start=0.01), batches * epochs)
    warmup, length = 10 * batches, 90 * batches

    def original(step: int) -> float:
        if step < warmup:
            return step / warmup
        q = 0.5 * (1 + math.cos(math.pi * (step - warmup) / length))
        return q + (1 - q) * 1e-3

    # The original's counter runs from one epoch's batches to those of one epoch too many.
    for step in (0, 1, 350, 351, 352, 2000, batches * epochs - 1):
        assert schedule.factor(step) == pytest.approx(original(step + batches), rel=1e-12)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(batches * epochs - 1) > schedule.factor(batches * 99)
