"""Generation: the cosine schedule, per row, with forbidden ids."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families.feedback.noise.sampling import Way, still_masked, unmask

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
    out = unmask(by_position(table()), tokens, masked, ALLOWED, Way(5))
    assert torch.equal(out[~masked], tokens[~masked])
    assert ALLOWED[out].all()


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_every_row_follows_its_own_cosine(steps: int) -> None:
    seen: list[Tensor] = []
    tokens, masked = rows(30, 11)
    unmask(by_position(table(), seen), tokens, masked, ALLOWED, Way(steps))
    for step, before in enumerate(seen[1:]):
        for row, at_first in enumerate((30, 11)):
            cosine = math.cos(math.pi / 2 * (step + 1) / steps)
            assert int(before[row].sum()) == math.floor(cosine * at_first)
    assert still_masked(steps - 1, steps, 30) == 0


def test_a_row_alone_is_filled_as_in_a_batch() -> None:
    tokens, masked = rows(30, 11, 4)
    together = unmask(by_position(table()), tokens, masked, ALLOWED, Way(6))
    for row in range(3):
        one = slice(row, row + 1)
        alone = unmask(by_position(table()), tokens[one], masked[one], ALLOWED, Way(6))
        assert torch.equal(alone[0], together[row])


def test_the_most_confident_positions_are_shown_first() -> None:
    seen: list[Tensor] = []
    logits = torch.zeros(40, V)
    logits[:, 5] = torch.linspace(1, 9, 40)
    tokens, masked = rows(30)
    unmask(by_position(logits, seen), tokens, masked, ALLOWED, Way(4))
    after_first = seen[1][0].nonzero()[:, 0].tolist()
    assert after_first == list(range(4, 4 + len(after_first)))


def test_a_temperature_draws_other_tokens_and_none_that_is_forbidden() -> None:
    tokens, masked = rows(30)
    drawn = [
        unmask(
            by_position(table()), tokens, masked, ALLOWED, Way(4, temperature=2.0),
            torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert ALLOWED[drawn[2]].all()


def test_a_row_with_nothing_masked_comes_back_as_it_is() -> None:
    tokens, masked = rows(3)
    masked[:] = False
    assert torch.equal(unmask(by_position(table()), tokens, masked, ALLOWED, Way(4)), tokens)


def filled_first(seen: list[Tensor], pass_: int) -> list[int]:
    """Positions of row 0 that were filled after `pass_` passes."""
    return (seen[0] & ~seen[pass_])[0].nonzero()[:, 0].tolist()


def test_a_block_is_full_before_the_next_one_is_begun() -> None:
    seen: list[Tensor] = []
    tokens, masked = rows(7, 4)
    out = unmask(by_position(table(), seen), tokens, masked, ALLOWED, Way(6, block=3))
    assert ALLOWED[out].all() and torch.equal(out[~masked], tokens[~masked])
    # Two passes for each of three blocks; a pass sees the open block's positions alone.
    opened = [sorted(set((each.nonzero()[:, 1]).tolist())) for each in seen]
    assert [places[0] for places in opened[::2]] == [4, 7, 10]
    assert all(set(places) <= set(range(first, first + 3))
               for places, first in zip(opened, (4, 4, 7, 7, 10, 10), strict=False))  # fmt: skip


def test_random_remasking_does_not_ask_for_confidence() -> None:
    tokens, masked = rows(30)
    logits = torch.zeros(40, V)
    logits[:, 5] = torch.linspace(1, 9, 40)
    firsts = []
    for seed in (0, 1):
        seen: list[Tensor] = []
        generator = torch.Generator().manual_seed(seed)
        way = Way(4, remask="random")
        unmask(by_position(logits, seen), tokens, masked, ALLOWED, way, generator)
        firsts.append(filled_first(seen, 1))
    surest = list(range(34 - len(firsts[0]), 34))
    assert firsts[0] != firsts[1] and surest not in firsts


def test_a_nucleus_holds_the_fewest_tokens_that_reach_its_sum() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05] + [0.0] * (V - 4)).log().expand(40, V)
    tokens, masked = rows(36)
    drawn = {}
    for top_p in (0.4, 0.79, 0.81, 1.0):
        way = Way(1, temperature=1.0, top_p=top_p)
        generator = torch.Generator().manual_seed(0)
        out = unmask(by_position(logits), tokens.repeat(20, 1), masked.repeat(20, 1), ALLOWED, way,
                     generator)  # fmt: skip
        drawn[top_p] = set(out[:, 4:].flatten().tolist())
    assert drawn == {0.4: {0}, 0.79: {0, 1}, 0.81: {0, 1, 2}, 1.0: {0, 1, 2, 3}}


def test_rows_filled_jointly_share_one_schedule_and_one_ranking() -> None:
    seen: list[Tensor] = []
    logits = torch.zeros(2, 40, V)
    logits[0, :, 5], logits[1, :, 5] = 9.0, 1.0

    def predict(tokens: Tensor, masked: Tensor) -> Tensor:
        seen.append(masked.clone())
        return logits[masked.nonzero()[:, 0], masked.nonzero()[:, 1]]

    tokens, masked = rows(10, 10)
    unmask(predict, tokens, masked, ALLOWED, Way(4, jointly=True))
    # The sure row is filled before the other one is begun.
    for step, left in enumerate(seen[1:]):
        count = math.floor(math.cos(math.pi / 2 * (step + 1) / 4) * 20)
        assert left.sum(1).tolist() == [max(0, count - 10), min(10, count)]


@pytest.mark.parametrize("setting", [
    {"steps": 0}, {"steps": 2.5}, {"temperature": -1.0}, {"temperature": math.nan}, {"top_p": 0.0},
    {"top_p": 2.0}, {"block": 0}, {"block": -1}, {"remask": "nonsense"},
])  # fmt: skip
def test_a_setting_without_a_meaning_is_refused(setting: dict[str, Any]) -> None:
    # A negative temperature drew the least likely tokens, and a negative block filled none.
    (name,) = setting
    with pytest.raises(UsageError, match=f"`{name}` is"):
        Way(**{"steps": 3, **setting})


def test_shapes_that_do_not_fit_are_told_in_words() -> None:
    tokens, masked = rows(5, 3)
    predict, way = by_position(table()), Way(3)
    for other in (masked[:, :4], masked.long(), masked[0]):
        with pytest.raises(UsageError, match="and a mask of"):
            unmask(predict, tokens, other, ALLOWED, way)
    with pytest.raises(UsageError, match="no token is allowed"):
        unmask(predict, tokens, masked, torch.zeros_like(ALLOWED), way)
    with pytest.raises(UsageError, match=r"logits of shape \(2, 9, 12\)"):
        unmask(lambda *_: torch.zeros(2, 9, V), tokens, masked, ALLOWED, way)
