"""The KL term, what bounds it, and beta over time."""

from __future__ import annotations

import math

import pytest
import torch

from weft.families.gaussvae.options.sections import BetaConfig, KlConfig
from weft.families.gaussvae.terms.posterior import (
    beta_at,
    bounded,
    divergence,
    highest,
    kl_term,
    sampled,
)


def test_kl_is_zero_at_the_prior_and_its_gradient_the_closed_form() -> None:
    mean = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    log_var = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert divergence(0 * mean, 0 * log_var).abs().max() == 0
    divergence(mean, log_var).sum().backward()
    torch.testing.assert_close(mean.grad, mean.detach())
    torch.testing.assert_close(log_var.grad, 0.5 * (log_var.detach().exp() - 1))


def test_reductions_are_a_mean_over_all_or_nats_of_an_item() -> None:
    nats = torch.rand(5, 4)
    assert kl_term(nats, KlConfig(), 0) == pytest.approx(float(nats.mean()))
    assert kl_term(nats, KlConfig(reduction="sum"), 0) == pytest.approx(float(nats.sum(1).mean()))


def test_free_bits_cost_nothing_below_them() -> None:
    nats = torch.tensor([[0.1, 2.0], [0.3, 4.0]], requires_grad=True)
    term = kl_term(nats, KlConfig(reduction="sum", free_bits=0.5), 0)
    term.backward()
    assert float(term.detach()) == pytest.approx(0.5 + 3.0)
    assert nats.grad is not None and nats.grad.tolist() == [[0, 0.5], [0, 0.5]]


@pytest.mark.parametrize(("progress", "target"), [(0.0, 0.0), (0.25, 3.0), (0.5, 6.0), (1.0, 6.0)])
def test_capacity_draws_the_nats_to_a_target_that_rises(progress: float, target: float) -> None:
    nats = torch.full((2, 4), 2.0)
    config = KlConfig(reduction="sum", capacity=6.0, capacity_share=0.5)
    assert float(kl_term(nats, config, progress)) == pytest.approx(abs(8 - target))
    per_latent = kl_term(nats, KlConfig(capacity=6.0, capacity_share=0.5), progress)
    assert float(per_latent) == pytest.approx(abs(8 - target) / 4)


def test_a_floor_bounds_the_variance_so_that_each_latent_keeps_its_nats() -> None:
    config = KlConfig(floor=0.3)
    log_var = bounded(torch.tensor([-20.0, -5.0, 0.0, 20.0]), config)
    assert float(divergence(torch.zeros(4), log_var).min()) == pytest.approx(0.3, abs=1e-6)
    assert log_var[0] == -10 and log_var[1] == -5
    top = highest(0.3)
    assert 0.5 * (math.exp(top) - 1 - top) == pytest.approx(0.3, abs=1e-9)


def test_log_variances_stay_within_the_limit_or_go_where_they_want() -> None:
    wild = torch.tensor([-50.0, 0.0, 50.0])
    assert bounded(wild, KlConfig()).tolist() == [-10, 0, 10]
    assert bounded(wild, KlConfig(log_var_limit=None)).tolist() == wild.tolist()


def test_sampling_moves_the_mean_by_the_deviation() -> None:
    mean, log_var = torch.randn(2, 3), torch.randn(2, 3)
    epsilon = torch.randn(2, 3)
    torch.testing.assert_close(
        sampled(mean, log_var, epsilon), mean + log_var.exp().sqrt() * epsilon
    )


def test_beta_rises_and_with_cycles_rises_anew() -> None:
    once = BetaConfig(max=2.0, warmup=50)
    assert [beta_at(once, e) for e in (0, 24, 49, 75)] == [0.04, 1.0, 2.0, 2.0]
    again = BetaConfig(max=1.0, warmup=2, cycle=4)
    assert [beta_at(again, e) for e in range(6)] == [0.5, 1, 1, 1, 0.5, 1]
