"""Generation: the cosine schedule, per row, with forbidden ids."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weft.families.feedback.noise.sampling import still_masked, unmask

V, MASK = 12, 10
ALLOWED = torch.arange(V) < 10


def table(seed: int = 0) -> Tensor:
    """Logits by position, (T, V), in which a forbidden id is the likeliest everywhere."""
    logits = torch.randn(40, V, generator=torch.Generator().manual_seed(seed))
    logits[:, MASK] = 99.0
    return logits


def by_position(logits: Tensor, seen: list[Tensor] | None = None):  # type: ignore[no-untyped-def]
    """A model whose guess depends on the position alone, and which notes what was masked."""

    def predict(tokens: Tensor, masked: Tensor) -> Tensor:
        if seen is not None:
            seen.append(masked.clone())
        return logits[masked.nonzero()[:, 1]]

    return predict


def rows(*lengths: int, context: int = 4) -> tuple[Tensor, Tensor]:
    """Rows whose first `context` tokens are given and whose next `length` are masked."""
    tokens = torch.full((len(lengths), context + max(lengths)), 3)
    masked = torch.zeros_like(tokens, dtype=torch.bool)
    for row, length in enumerate(lengths):
        masked[row, context : context + length] = True
    return tokens.masked_fill(masked, MASK), masked


def test_the_context_stays_and_no_mask_or_unused_id_is_left() -> None:
    tokens, masked = rows(7, 20, 1)
    out = unmask(by_position(table()), tokens, masked, ALLOWED, 5)
    assert torch.equal(out[~masked], tokens[~masked])
    assert ALLOWED[out].all()


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_every_row_follows_its_own_cosine(steps: int) -> None:
    seen: list[Tensor] = []
    tokens, masked = rows(30, 11)
    unmask(by_position(table(), seen), tokens, masked, ALLOWED, steps)
    for step, before in enumerate(seen[1:]):
        for row, at_first in enumerate((30, 11)):
            cosine = math.cos(math.pi / 2 * (step + 1) / steps)
            assert int(before[row].sum()) == math.floor(cosine * at_first)
    assert still_masked(steps - 1, steps, 30) == 0


def test_a_row_alone_is_filled_as_in_a_batch() -> None:
    tokens, masked = rows(30, 11, 4)
    together = unmask(by_position(table()), tokens, masked, ALLOWED, 6)
    for row in range(3):
        one = slice(row, row + 1)
        alone = unmask(by_position(table()), tokens[one], masked[one], ALLOWED, 6)
        assert torch.equal(alone[0], together[row])


def test_the_most_confident_positions_are_shown_first() -> None:
    seen: list[Tensor] = []
    logits = torch.zeros(40, V)
    logits[:, 5] = torch.linspace(1, 9, 40)
    tokens, masked = rows(30)
    unmask(by_position(logits, seen), tokens, masked, ALLOWED, 4)
    after_first = seen[1][0].nonzero()[:, 0].tolist()
    assert after_first == list(range(4, 4 + len(after_first)))


def test_a_temperature_draws_other_tokens_and_none_that_is_forbidden() -> None:
    tokens, masked = rows(30)
    drawn = [
        unmask(
            by_position(table()), tokens, masked, ALLOWED, 4,
            temperature=2.0, generator=torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert ALLOWED[drawn[2]].all()


def test_a_row_with_nothing_masked_comes_back_as_it_is() -> None:
    tokens, masked = rows(3)
    masked[:] = False
    assert torch.equal(unmask(by_position(table()), tokens, masked, ALLOWED, 4), tokens)
