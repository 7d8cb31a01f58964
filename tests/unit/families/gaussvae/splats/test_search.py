"""The smallest number of splats: reached, and one rung fewer does not reach it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from weft.errors import UsageError
from weft.families.gaussvae.splats import search as module
from weft.families.gaussvae.splats.anchored import Anchored, grid
from weft.families.gaussvae.splats.fit import fit
from weft.families.gaussvae.splats.result import Result
from weft.families.gaussvae.splats.search import affordable, ladder, smallest

HOW = Anchored(steps=8)


@pytest.mark.parametrize("size", [(12, 20), (20, 12), (32, 32), (5, 4), (90, 5)])
def test_the_ladder_rises_by_numbers_that_make_grids_up_to_the_picture_s_own(
    size: tuple[int, int],
) -> None:
    rungs = ladder(*size)
    assert rungs == sorted(set(rungs)) and rungs[0] >= 1
    assert 8 * rungs[-1] <= 3 * size[0] * size[1]
    assert all(grid(count, *size) for count in rungs)


def test_rungs_lie_so_close_that_hardly_a_splat_is_too_many() -> None:
    for size in ((32, 48), (64, 64), (512, 768)):
        rungs = [count for count in ladder(*size) if count >= 20]
        steps = [after / before for before, after in pairwise(rungs)]
        assert min(steps) >= 17 / 16 and max(steps) <= 1.3
        assert sum(steps) / len(steps) < 1.1


def test_it_reaches_what_is_wanted_and_a_rung_fewer_does_not() -> None:
    images = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.avg_pool2d(images, 3, 1, 1)
    rungs, wanted = ladder(12, 12), 21.0
    found = smallest(images, wanted, HOW, lambda done: None)
    for image, result in zip(images, found, strict=True):
        assert result.psnr >= wanted
        fewer = rungs[rungs.index(len(result.splats)) - 1]
        assert fit(image, fewer, steps=8).psnr.item() < wanted


def _by_number(monkeypatch: pytest.MonkeyPatch, needed: int) -> list[int]:
    """Fits that reach 30 dB from `needed` splats on; the numbers that were tried."""
    tried = []

    def fits(images: torch.Tensor, how: Anchored) -> list[Result]:
        tried.append(how.splats)
        splats = torch.zeros(how.splats, 8).numpy()
        return [Result(splats, 30.0 if how.splats >= needed else 29.0, 1.0, None, 0.5)] * len(
            images
        )

    monkeypatch.setattr(module, "_fits", fits)
    return tried


@pytest.mark.parametrize("rung", range(0, 33, 2))
def test_any_rung_is_found_in_few_fits(monkeypatch: pytest.MonkeyPatch, rung: int) -> None:
    rungs = ladder(32, 32)
    tried = _by_number(monkeypatch, rungs[rung])
    [result] = smallest(torch.zeros(1, 3, 32, 32), 30.0, HOW, lambda done: None)
    assert len(result.splats) == rungs[rung]
    assert len(set(tried)) == len(tried) <= 8
    assert result.seconds == pytest.approx(0.5 * len(tried))


def test_what_no_number_reaches_is_told_by_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    _by_number(monkeypatch, 10**6)
    [result] = smallest(torch.zeros(1, 3, 32, 32), 30.0, HOW, lambda done: None)
    assert len(result.splats) == ladder(32, 32)[-1] and result.psnr == 29.0


def test_bits_buy_as_many_splats_as_they_hold() -> None:
    bits = (16, 16, 16, 16)
    assert affordable(32, 32, 64 * 128, bits) == 64
    assert affordable(32, 32, 64 * 128 - 1, bits) == 56
    with pytest.raises(UsageError, match="127 bits hold no splat of 128"):
        affordable(32, 32, 127, bits)


def test_fits_of_a_search_are_those_of_fit() -> None:
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    found = module._fits(images, replace(HOW, splats=9))
    wanted = fit(images, 9, steps=8)
    assert torch.equal(torch.stack([torch.from_numpy(one.splats) for one in found]), wanted.splats)
