"""Noise: times, masks, fixed masks and shortened chunks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families.feedback.noise.process import (
    apply_mask,
    cut,
    document_times,
    fixed_noise,
    mask_probability,
    masked_noise,
    random_length,
)

MASK, PAD = 90, 91


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def packed() -> dict[str, Tensor]:
    """Two rows: documents of 3 and 4 tokens and a padded place; one of 6 and two of 1."""
    document = torch.tensor([[0, 0, 0, 1, 1, 1, 1, -1], [0, 0, 0, 0, 0, 0, 1, 2]])
    position = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0], [0, 1, 2, 3, 4, 5, 0, 0]])
    tokens = torch.arange(16).view(2, 8).masked_fill(document < 0, PAD)
    return {"tokens": tokens, "document": document, "position": position}


def test_the_mask_probability_runs_from_eps_to_1() -> None:
    p = mask_probability(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), 0.1)
    assert p.tolist() == pytest.approx([0.1, 0.55, 1.0], rel=1e-12)


def test_a_row_has_one_time_and_a_packed_row_one_for_each_document() -> None:
    t = document_times(
        {"tokens": torch.zeros(4, 6, dtype=torch.int64)}, generator(), stratified=True
    )
    assert t.shape == (4, 6)
    assert (t == t[:, :1]).all() and len(t[:, 0].unique()) == 4
    batch = packed()
    for stratified in (False, True):
        t = document_times(batch, generator(), stratified=stratified)
        drawn = [
            t[row][batch["document"][row] == number].unique()
            for row, number in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))
        ]
        assert all(len(of_document) == 1 for of_document in drawn)
        assert len(torch.cat(drawn).unique()) == 5


def test_stratified_times_are_evenly_spread_over_rows_and_documents() -> None:
    t = document_times(
        {"tokens": torch.zeros(8, 1, dtype=torch.int64)}, generator(3), stratified=True
    )
    gaps = t[:, 0].sort().values.diff()
    torch.testing.assert_close(gaps, torch.full((7,), 1 / 8), rtol=0, atol=1e-6)
    batch = packed()
    t = document_times(batch, generator(3), stratified=True)[batch["position"] == 0]
    spread = t.unique().sort().values.diff()
    torch.testing.assert_close(spread, torch.full((4,), 1 / 5), rtol=0, atol=1e-6)


def test_masks_hit_text_alone_and_leave_the_rest_as_it_is() -> None:
    batch = packed()
    text = batch["document"] >= 0
    noised = masked_noise(batch, text, MASK, generator(), eps=0.5, stratified=True)
    assert not noised.masked[~text].any()
    assert (noised.tokens[noised.masked] == MASK).all()
    assert torch.equal(noised.tokens[~noised.masked], batch["tokens"][~noised.masked])
    assert torch.equal(noised.clean, batch["tokens"])


def test_the_weight_is_the_reciprocal_of_the_mask_probability() -> None:
    clean = torch.zeros(1, 3, dtype=torch.int64)
    everywhere = torch.ones(1, 3, dtype=torch.bool)
    p = torch.tensor([[0.25]])
    noised = apply_mask(clean, everywhere, torch.tensor([[0.2, 0.3, 0.0]]), p, MASK)
    assert noised.masked.tolist() == [[True, False, True]]
    assert noised.weight.tolist() == [[4.0] * 3]


def test_fixed_masks_depend_on_a_chunk_s_number_alone() -> None:
    tokens = torch.arange(6 * 10).view(6, 10) % 80
    text = torch.ones_like(tokens, dtype=torch.bool)
    whole = fixed_noise(tokens, text, 0, MASK, eps=1e-3, levels=4)
    later = fixed_noise(tokens[3:5], text[3:5], 3, MASK, eps=1e-3, levels=4)
    longer = torch.cat([tokens, torch.full((6, 7), PAD)], dim=1)
    padded = fixed_noise(longer, longer != PAD, 0, MASK, eps=1e-3, levels=4)
    for level in range(4):
        assert torch.equal(whole[level].masked[3:5], later[level].masked)
        assert torch.equal(whole[level].masked, padded[level].masked[:, :10])
        assert not padded[level].masked[:, 10:].any()
        assert torch.equal(whole[level].weight, padded[level].weight[:, :10])


def test_fixed_levels_lie_in_their_parts_of_the_unit_interval() -> None:
    tokens = torch.zeros(50, 4, dtype=torch.int64)
    text = torch.ones_like(tokens, dtype=torch.bool)
    for level, noised in enumerate(fixed_noise(tokens, text, 0, MASK, eps=0.1, levels=5)):
        t = (1 / noised.weight[:, 0] - 0.1) / 0.9
        assert (t >= level / 5 - 1e-6).all() and (t < (level + 1) / 5 + 1e-6).all()
        assert len(t.unique()) == 50


def test_a_cut_keeps_the_first_tokens_of_every_chunk() -> None:
    rows = {"tokens": torch.arange(12).view(3, 4)}
    assert cut(rows, 2, PAD)["tokens"].tolist() == [[0, 1], [4, 5], [8, 9]]
    batch = cut(packed(), 2, PAD)
    assert batch["document"].tolist() == [[0, 0, -1, 1, 1, -1, -1, -1], [0, 0] + [-1] * 4 + [1, 2]]
    assert (batch["tokens"][batch["document"] < 0] == PAD).all()
    assert batch["tokens"][0, 3] == 3


def test_a_random_length_is_rare_and_covers_1_to_t() -> None:
    drawn = [random_length(5, 0.25, generator(seed)) for seed in range(2000)]
    lengths = [length for length in drawn if length is not None]
    assert set(lengths) == {1, 2, 3, 4, 5}
    # 2000 coins of 0.25: standard deviation 19.4
    assert abs(len(lengths) - 500) < 80
    assert random_length(5, 0.0, generator()) is None
    assert random_length(1, 1.0, generator()) == 1


@pytest.mark.parametrize(("wide", "eps"), [(5, 0.1), (9, -0.5), (9, 2.0), (9, float("nan"))])
def test_noise_of_other_shapes_or_chances_is_refused(wide: int, eps: float) -> None:
    batch = {"tokens": torch.ones(3, 9, dtype=torch.int64)}
    with pytest.raises(UsageError, match="text of"):
        masked_noise(
            batch, torch.ones(3, wide, dtype=torch.bool), 7, None, eps=eps, stratified=True
        )
