"""Both loops that are compared take the same steps; ours is what a run takes."""

from __future__ import annotations

import torch

from weft.studies.overhead import CLASSES, HIDDEN, INPUTS, bare, cases, ours


def test_the_bare_loop_trains_the_same_model() -> None:
    (one, by_weft), (other, by_torch) = ours(45), bare(45)
    count = sum(weight.numel() for weight in one.parameters())
    assert count == (INPUTS + 1) * HIDDEN + (HIDDEN + 1) * CLASSES == 4810
    start = [weight.clone() for weight in one.parameters()]
    by_weft()
    by_torch()
    for before, ours_, theirs in zip(start, one.parameters(), other.parameters(), strict=True):
        assert not torch.equal(before, ours_)
        torch.testing.assert_close(ours_, theirs, rtol=1e-5, atol=1e-6)


def test_starts_are_measured_where_that_is_asked_for() -> None:
    loop, start = cases()
    assert not loop.full and start.full
    assert next(iter(start.forms)) == start.baselines[0] == "import torch"
