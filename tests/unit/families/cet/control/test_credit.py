"""Advantages as their sum says, actions as their probabilities say, losses by hand."""

from __future__ import annotations

import pytest
import torch

from weft.families.cet.control.credit import advantages, losses, standardised
from weft.families.cet.control.experience import drawn


@pytest.mark.parametrize("horizon", [0.0, 0.6, 1.0])
def test_an_advantage_is_the_discounted_sum_of_errors_up_to_the_episode_s_end(
    horizon: float,
) -> None:
    draws = torch.Generator().manual_seed(0)
    reward, value, following = torch.randn(3, 2, 7, generator=draws, dtype=torch.float64)
    terminated, done = torch.zeros(2, 2, 7, dtype=torch.bool)
    terminated[0, 2] = done[0, 2] = True
    done[1, 4] = True  # Cut: what follows is still worth something.
    found = advantages(reward, value, following, terminated, done, 0.9, horizon)
    for stream in range(2):
        for time in range(7):
            expected, weight = 0.0, 1.0
            for later in range(time, 7):
                to_come = 0.0 if terminated[stream, later] else 0.9 * following[stream, later]
                error = reward[stream, later] + to_come - value[stream, later]
                expected += weight * float(error)
                weight *= 0.9 * horizon
                if done[stream, later]:
                    break
            assert float(found[stream, time]) == pytest.approx(expected, abs=1e-12)


def test_actions_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.1, 0.6, 0.3]).log()
    chance = torch.arange(1000) / 1000
    counts = torch.bincount(drawn(logits.expand(1000, 3), chance), minlength=3)
    assert (counts - torch.tensor([100, 600, 300])).abs().max() <= 1


def test_the_largest_chance_draws_an_action_that_exists() -> None:
    logits = torch.full((1, 7), 0.3)
    assert int(drawn(logits, torch.tensor([1 - 2**-24]))) == 6


def test_losses_are_means_over_all_steps() -> None:
    logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])
    value, target = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    advantage, action = torch.tensor([[2.0, -1.0]]), torch.tensor([[1, 0]])
    actor, critic, entropy = losses(logits, value, action, advantage, target)
    shares = logits.softmax(-1)
    assert float(critic) == pytest.approx((1 + 4) / 4)
    log_half, log_first = float(shares[0, 0, 1].log()), float(shares[0, 1, 0].log())
    assert float(actor) == pytest.approx(-(2 * log_half - log_first) / 2, rel=1e-6)
    assert float(entropy) == pytest.approx(float(-(shares * shares.log()).sum() / 2), rel=1e-6)


def test_standardised_advantages_have_mean_0_and_deviation_1() -> None:
    found = standardised(torch.tensor([[1.0, 5.0], [2.0, 8.0]]))
    assert float(found.mean()) == pytest.approx(0, abs=1e-6)
    assert float(found.std(correction=0)) == pytest.approx(1, rel=1e-5)
    assert torch.equal(standardised(torch.ones(2, 3)), torch.zeros(2, 3))
