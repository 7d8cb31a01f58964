"""The loss and the choice of items to learn from."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from weft.families.cet.config import Config
from weft.families.cet.objective import correct, cross_entropy, largest


def test_cross_entropy_is_minus_the_log_probability_of_the_class() -> None:
    logits = torch.randn(2, 5, 4, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 5))
    expected = -logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
    assert torch.allclose(cross_entropy(logits, labels), expected, atol=1e-10)


def test_soft_targets_generalise_hard_ones() -> None:
    logits = torch.randn(2, 5, 4, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 5))
    hard = cross_entropy(logits, labels)
    assert torch.allclose(cross_entropy(logits, one_hot(labels, 4).double()), hard, atol=1e-10)
    mixed = torch.rand(2, 5, 4, dtype=torch.float64).softmax(-1)
    expected = -(mixed * logits.log_softmax(-1)).sum(-1)
    assert torch.allclose(cross_entropy(logits, mixed), expected, atol=1e-10)


def test_a_soft_target_is_hit_by_its_likeliest_class() -> None:
    logits = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    assert correct(logits, torch.tensor([1, 1])).tolist() == [True, False]
    assert correct(logits, torch.tensor([[0.4, 0.6], [0.9, 0.1]])).tolist() == [True, True]


@settings(max_examples=60)
@given(st.integers(2, 64), st.floats(0, 0.99), st.integers(0, 2**31))
def test_kept_are_the_losses_from_the_interpolated_quantile_upwards(
    length: int, quantile: float, seed: int
) -> None:
    losses = torch.rand(3, length, dtype=torch.float64, generator=torch.manual_seed(seed))
    count = Config.model_construct(batch_size=length, top_quantile=quantile).kept_items
    kept = largest(losses, count)
    # A float64 quantile may round above the very loss it lies on.
    least = torch.quantile(losses, quantile, dim=1, keepdim=True) - 1e-12
    for row, times, bound in zip(losses, kept, least, strict=True):
        assert times.tolist() == torch.nonzero(row >= bound).flatten().tolist()


def test_equal_losses_keep_the_same_number_of_items() -> None:
    kept = largest(torch.ones(2, 10), 3)
    assert kept.shape == (2, 3) and (kept.diff(dim=1) > 0).all()


@pytest.mark.parametrize("classes", [2, 10])
def test_loss_of_no_knowledge_is_the_log_of_the_number_of_classes(classes: int) -> None:
    loss = cross_entropy(torch.zeros(1, 3, classes), torch.zeros(1, 3, dtype=torch.long))
    assert torch.allclose(loss, torch.tensor(float(classes)).log().expand(1, 3))


def test_parts_of_a_stream_give_their_own_largest() -> None:
    losses = torch.tensor([[9.0, 1.0, 8.0, 2.0, 7.0, 3.0], [0.0, 5.0, 1.0, 6.0, 2.0, 7.0]])
    assert largest(losses, 2, parts=2).tolist() == [[0, 5], [4, 5]]
    assert largest(losses, 4, parts=2).tolist() == [[0, 2, 3, 5], [2, 3, 4, 5]]
    assert torch.equal(largest(losses, 3, parts=1), largest(losses, 3))
