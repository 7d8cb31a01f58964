"""The noise and the bound against what probability theory says of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weft.families.feedback.nets.logits import cross_entropy
from weft.families.feedback.noise.process import Noised, fixed_noise, mask_probability, masked_noise
from weft.families.feedback.objective import bound, ratio, row_sums

MASK, EPS = 500, 1e-3


def draw(rows: int, length: int, seed: int, *, stratified: bool) -> Noised:
    tokens = torch.zeros(rows, length, dtype=torch.int64)
    text = torch.ones_like(tokens, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    return masked_noise({"tokens": tokens}, text, MASK, generator, eps=EPS, stratified=stratified)


def uniform_bound(noised: Noised, vocabulary: int) -> float:
    """The loss of a model that gives every id the same probability: all logits are 0."""
    table = torch.zeros(vocabulary, 1, dtype=torch.float64)
    read = torch.zeros(*noised.masked.shape, 1, dtype=torch.float64)

    def head(read: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return cross_entropy(read, table, targets, weight.double(), None)

    return float(bound(head, read, noised, noised.masked.numel())[0])


@pytest.mark.parametrize("stratified", [False, True])
def test_the_masked_fraction_of_a_row_is_its_probability(stratified: bool) -> None:
    noised = draw(200, 5_000, 0, stratified=stratified)
    p = 1 / noised.weight[:, 0].double()
    fraction = noised.masked.double().mean(1)
    z = (fraction - p) / (p * (1 - p) / 5_000).sqrt()
    assert float(z.abs().max()) < 4.5  # of 200 normal deviates; a chance of 0.001
    assert float(z.mean().abs()) < 3 / math.sqrt(200)


@pytest.mark.parametrize("stratified", [False, True])
def test_the_bound_of_a_uniform_predictor_is_the_log_of_the_vocabulary(stratified: bool) -> None:
    losses = torch.tensor(
        [uniform_bound(draw(16, 64, seed, stratified=stratified), 30) for seed in range(300)],
        dtype=torch.float64,
    )
    error = float(losses.std()) / math.sqrt(len(losses))
    assert abs(float(losses.mean()) - math.log(30)) < 3 * error
    assert error < 0.05 * math.log(30)


def test_stratified_times_lower_the_variance_of_what_depends_on_them() -> None:
    """Of the mean of p over a batch of 16: 1/(12 N) becomes 1/(12 N^2), a 16th."""
    spread = {}
    for stratified in (False, True):
        means = [
            (1 / draw(16, 1, seed, stratified=stratified).weight).mean() for seed in range(300)
        ]
        spread[stratified] = float(torch.stack(means).var())
    # Each variance is known to 8 %.
    assert spread[False] / spread[True] == pytest.approx(16, rel=0.35)


def test_fixed_masks_estimate_the_bound_of_a_predictor_whose_loss_grows_with_the_noise() -> None:
    """Nats c p at every masked position have the bound c E[p] = c (1 + eps) / 2."""
    tokens = torch.zeros(300, 40, dtype=torch.int64)
    text = torch.ones_like(tokens, dtype=torch.bool)
    sums = torch.zeros(300, dtype=torch.float64)
    for noised in fixed_noise(tokens, text, 0, MASK, eps=EPS, levels=8):
        p = 1 / noised.weight[noised.masked].double()
        sums += row_sums(3 * p * noised.weight[noised.masked].double(), noised.masked) / 8
    mean, error = ratio(sums, torch.full((300,), 40))
    assert abs(mean - 1.5 * (1 + EPS)) < 3 * error
    assert error < 0.02


def test_the_least_probability_bounds_the_weight() -> None:
    assert float(mask_probability(torch.zeros(()), EPS)) == pytest.approx(EPS, rel=1e-6)
    noised = draw(4_000, 1, 0, stratified=True)
    assert float(noised.weight.max()) <= 1 / EPS
    assert float(noised.weight.min()) >= 1.0
