"""The bound, sums over rows, and the standard error of a ratio."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weft.families.feedback.nets.logits import cross_entropy
from weft.families.feedback.noise import process
from weft.families.feedback.noise.process import Noised
from weft.families.feedback.objective import bound, entropy, ratio, row_sums


def noised(masked: list[list[bool]], weight: list[list[float]]) -> Noised:
    at = torch.tensor(masked)
    clean = torch.arange(at.numel()).view(at.shape)
    return Noised(clean, clean, at, torch.tensor(weight, dtype=torch.float64), at)


def test_the_bound_is_the_weighted_sum_of_masked_positions_over_the_count() -> None:
    batch = noised([[True, False], [True, True]], [[4.0, 9.0], [2.0, 1.0]])
    read = torch.tensor([[[1.0], [7.0]], [[2.0], [3.0]]], dtype=torch.float64)

    def head(read: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        assert targets.tolist() == [0, 2, 3]
        return (read[:, 0] * weight).sum(), read[:, 0]

    loss, nats = bound(head, read, batch, 10)
    assert float(loss) == pytest.approx((1 * 4 + 2 * 2 + 3 * 1) / 10, rel=1e-12)
    assert nats.tolist() == [1.0, 2.0, 3.0]


def test_without_a_masked_position_the_bound_is_0_and_can_be_differentiated() -> None:
    table = torch.randn(5, 3, requires_grad=True)

    def head(read: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return cross_entropy(read, table, targets, weight, 4)

    loss, _ = bound(head, torch.zeros(1, 2, 3), noised([[False, False]], [[1.0, 1.0]]), 2)
    loss.backward()
    assert loss.item() == 0.0
    assert not table.grad.any()  # type: ignore[union-attr]


def test_a_recorded_step_has_the_bound_and_the_gradients_of_the_masked_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    read, table = torch.randn(2, 3, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    batch = noised([[True, False, True], [False, True, False]], [[4.0, 9.0, 2.0], [2.0, 1.0, 3.0]])

    def head(read: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        # Id 5, that of the last position, which is not masked, cannot be meant: as [PAD] cannot.
        return cross_entropy(read, table, targets, weight, 2, used=5)

    usual, nats = bound(head, read, batch, 6)
    monkeypatch.setattr(process, "_recorded", lambda tensor: True)
    recorded, all_nats = bound(head, read, batch, 6)
    assert (len(nats), len(all_nats)) == (3, 6)
    torch.testing.assert_close(recorded, usual)
    for found, wanted in zip(
        torch.autograd.grad(recorded, (read, table)),
        torch.autograd.grad(usual, (read, table)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_row_sums_put_every_value_into_its_row() -> None:
    masked = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    assert row_sums(torch.tensor([1.0, 2.0, 5.0]), masked).tolist() == [3.0, 0.0, 5.0]


def test_the_ratio_of_equal_chunks_is_the_mean_and_its_error_the_usual_one() -> None:
    values = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, error = ratio(values * 7, torch.full((40,), 7))
    assert mean == pytest.approx(float(values.mean()), rel=1e-12)
    assert error == pytest.approx(float(values.std()) / math.sqrt(40), rel=1e-12)


def test_the_error_of_a_ratio_matches_the_spread_over_repeated_draws() -> None:
    draws = torch.Generator().manual_seed(1)
    counts = torch.randint(1, 30, (4000, 50), generator=draws)
    values = torch.randn(4000, 50, generator=draws, dtype=torch.float64)
    sums = counts * (3 + values)
    means, errors = zip(*(ratio(s, n) for s, n in zip(sums, counts, strict=True)), strict=True)
    spread = float(torch.tensor(means).std())
    # The mean of 4,000 estimates; the spread itself is known to 1.1 %.
    assert sum(errors) / len(errors) == pytest.approx(spread, rel=0.06)


def test_one_chunk_has_no_error_to_speak_of() -> None:
    assert ratio(torch.tensor([6.0]), torch.tensor([3])) == (2.0, float("inf"))


def test_the_entropy_of_frequencies_is_that_of_the_guess_that_knows_them() -> None:
    counts = torch.tensor([6, 3, 0, 3])
    expected = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert entropy(counts) == pytest.approx(expected)
