"""The original's optimiser chain: elementwise clip, AdaBelief with its constants, plateau rule."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from weft.config.sections import Plateau, ValueClip
from weft.engine.clip import ValueClipping
from weft.engine.schedule import PlateauSchedule
from weft.families.warp.optim.adabelief import AdaBelief, reference
from weft.families.warp.optim.plateau import LiteralSchedule
from weft.families.warp.options.sections import LiteralPlateau, Reference

LR = 1e-5
RULE: dict[str, Any] = {"factor": 0.5, "patience": 2, "window": 2, "rtol": 1e-2, "min_lr": 0.1}


def displacements(gradients: list[float], dtype: torch.dtype) -> list[float]:
    """What each update adds to a weight that starts at 0, in units of the learning rate."""
    weight = torch.zeros(3, dtype=dtype, requires_grad=True)
    optimiser = reference(Reference(lr=LR), [{"params": [weight]}])
    clip = ValueClipping(ValueClip(limit=1e-7))
    moved = []
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        before = weight.detach().clone()
        clip([weight.grad])
        optimiser.step()
        moved.append(float((weight.detach() - before)[1]) / LR)
    return moved


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_3000_equal_gradients_move_a_weight_by_0_316_lr_each(dtype: torch.dtype) -> None:
    moved = displacements([1.0] * 3000, dtype)
    assert sum(moved) / len(moved) == pytest.approx(-0.316, rel=0.01)
    # At first v = (1 - b2) (g - (1 - b1) g)^2 + eps_root; the correction divides it by 1 - b2.
    first = 1e-7 / math.sqrt((1e-3 * (0.9e-7) ** 2 + 1e-16) / 1e-3)
    assert moved[0] == pytest.approx(-first, rel=1e-5)
    # In the limit eps_root / (1 - b2) = 1e-13 is all of v.
    assert moved[-1] == pytest.approx(-1e-7 / math.sqrt(1e-13), rel=1e-3)
    assert all(first * 0.999 < -step < 0.317 for step in moved)


def test_random_signs_move_a_weight_by_0_07_lr_rms() -> None:
    draws = torch.rand(3000, generator=torch.Generator().manual_seed(0))
    moved = displacements([1.0 if d < 0.5 else -1.0 for d in draws.tolist()], torch.float64)
    rms = math.sqrt(sum(step**2 for step in moved[500:]) / len(moved[500:]))
    assert rms == pytest.approx(0.07, abs=0.005)


def literal_adabelief(gradients: list[list[float]]) -> list[float]:
    """The equations of AdaBelief, one weight at a time, from weights of 0."""
    weights = [0.0] * len(gradients[0])
    moments = [(0.0, 0.0)] * len(weights)
    for n, row in enumerate(gradients, start=1):
        for i, g in enumerate(row):
            m, v = moments[i]
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * (g - m) ** 2 + 1e-16
            moments[i] = m, v
            scaled = math.sqrt(v / (1 - 0.999**n)) + 1e-16
            weights[i] -= LR * m / (1 - 0.9**n) / scaled
    return weights


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e-9])
def test_adabelief_equals_its_equations(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    gradients = scale * torch.randn(20, 5, generator=generator, dtype=torch.float64)
    # Two tensors of unlike shapes are updated together.
    parts = [torch.zeros(s, dtype=torch.float64, requires_grad=True) for s in ((1, 2), (3,))]
    optimiser = reference(Reference(lr=LR), [{"params": parts}])
    for row in gradients:
        parts[0].grad, parts[1].grad = row[:2].view(1, 2), row[2:]
        optimiser.step()
    moved = torch.cat([part.detach().flatten() for part in parts])
    expected = torch.tensor(literal_adabelief(gradients.tolist()), dtype=torch.float64)
    torch.testing.assert_close(moved, expected, rtol=1e-10, atol=0)


def test_a_weight_that_joins_late_has_a_bias_correction_of_its_own() -> None:
    late, alone = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    always = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    together, single = AdaBelief([late, always], lr=LR), AdaBelief([alone], lr=LR)
    for step in range(5):
        always.grad = torch.ones_like(always)
        late.grad = None if step < 3 else torch.ones_like(late)
        together.step()
        if step >= 3:
            alone.grad = torch.ones_like(alone)
            single.step()
    torch.testing.assert_close(late, alone, rtol=0, atol=0)


def test_the_second_moment_survives_a_checkpoint() -> None:
    def fresh() -> tuple[torch.Tensor, AdaBelief]:
        weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
        return weight, AdaBelief([weight], lr=LR)

    straight, optimiser = fresh()
    for _ in range(6):
        straight.grad = torch.full_like(straight, 1e-7)
        optimiser.step()
    resumed, first = fresh()
    for _ in range(3):
        resumed.grad = torch.full_like(resumed, 1e-7)
        first.step()
    second = AdaBelief([resumed], lr=LR)
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        resumed.grad = torch.full_like(resumed, 1e-7)
        second.step()
    assert torch.equal(resumed, straight)


def factors(schedule: LiteralSchedule | PlateauSchedule, means: list[float]) -> list[float]:
    """The factor after each window of two losses with the given means."""
    result = []
    for mean in means:
        for loss in (mean - 0.25, mean + 0.25):
            schedule.observe(loss)
        result.append(schedule.factor(0))
    return result


def literal() -> LiteralSchedule:
    return LiteralSchedule(LiteralPlateau(**RULE), 100)


def corrected() -> PlateauSchedule:
    return PlateauSchedule(Plateau(**RULE), 100)


def test_positive_losses_cut_the_rate_at_the_second_bad_window_and_stop_at_the_floor() -> None:
    # 0.995 is not below 0.99 x 1, 0.98 is; then nothing improves any more.
    means = [1.0, 0.995, 0.98, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.1]
    assert factors(literal(), means) == expected


def test_the_corrected_rule_waits_for_one_bad_window_more() -> None:
    means = [1.0, 0.995, 0.98, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert factors(corrected(), means) == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_for_negative_losses_the_literal_rule_takes_a_slow_loss_for_progress() -> None:
    # Each mean is half a percent worse than the one before it.
    means = [-1.0 * 0.995**n for n in range(12)]
    assert factors(literal(), means) == [1.0] * 12
    assert factors(corrected(), means)[2:7] == [1, 0.5, 0.5, 0.5, 0.25]


def test_for_negative_losses_both_rules_see_true_progress() -> None:
    means = [-1.0 * 1.05**n for n in range(12)]
    assert factors(literal(), means) == factors(corrected(), means) == [1.0] * 12


def test_a_half_full_window_survives_a_checkpoint() -> None:
    straight, first, second = literal(), literal(), literal()
    losses = [3.0, 1.0, 2.0, 2.5, 2.0, 2.0, 2.0, 2.0, 2.0]
    for loss in losses:
        straight.observe(loss)
    for loss in losses[:5]:
        first.observe(loss)
    second.load(first.state())
    for loss in losses[5:]:
        second.observe(loss)
    assert second.state() == straight.state()
    assert second.reacts
