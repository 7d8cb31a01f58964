"""The schedule of Image-GS: how many splats are there when, where they land, when it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae.forms import replay
from weft.families.gaussvae.splats import imagegs
from weft.families.gaussvae.splats.imagegs import ImageGS, ImageGSFit, Plateau

HOW = ImageGS(splats=18, steps=40, add_every=5, look_every=5)


def _halves() -> Tensor:
    """Black on the left, white on the right, and a red square within the black."""
    image = torch.zeros(1, 3, 16, 24)
    image[..., 12:] = 1
    image[:, 0, 4:8, 4:8] = 1
    return image


def test_half_are_there_first_and_a_quarter_of_them_comes_four_times() -> None:
    under_way = ImageGSFit(_halves(), HOW)
    counts = []
    for _ in range(HOW.steps):
        under_way.advance(1)
        counts.append(under_way.ones[0].way.free.shape[1])
    # ceil(9 / 4) = 3 are added at a time, and no more than 18 in all.
    assert counts == [9] * 5 + [12] * 5 + [15] * 5 + [18] * 25


def test_the_optimiser_begins_anew_with_each_addition() -> None:
    under_way = ImageGSFit(_halves(), HOW)
    under_way.advance(5)
    assert under_way.ones[0].way.step == 5
    under_way.advance(1)
    assert under_way.ones[0].way.step == 1


def test_first_splats_are_round_on_pixels_and_most_of_them_at_edges() -> None:
    image = _halves()
    free = ImageGSFit(image, replace(HOW, splats=60)).ones[0].way.free[0]
    assert free[:, 2:4].eq(1 / HOW.std).all() and free[:, 4].eq(0).all()
    x, y = (free[:, 0] * 24 - 0.5).round().long(), (free[:, 1] * 16 - 0.5).round().long()
    assert free[:, 5:].equal(image[0, :, y, x].T)
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == 30
    slope = imagegs._slope(image[0])[y, x]
    assert (slope > 0).sum() >= 21


def test_new_splats_land_on_the_error_with_the_colour_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = _halves()
    under_way = ImageGSFit(image, HOW)
    [one] = under_way.ones
    # A picture that is right but for the red square.
    one.way.free = one.way.free.clone()
    drawn = image.clone()
    drawn[:, 0, 4:8, 4:8] = 0
    monkeypatch.setattr(under_way, "_drawing", lambda splats: drawn)
    under_way._add(one)
    new = one.way.free[0, 9:]
    x, y = new[:, 0] * 24 - 0.5, new[:, 1] * 16 - 0.5
    assert ((x > 3.4) & (x < 7.6) & (y > 3.4) & (y < 7.6)).all()
    assert new[:, 5:].equal(torch.tensor([1.0, 0, 0]).expand(3, 3))


def test_rates_fall_after_so_many_steps_without_a_rise_and_a_rise_of_either_counts() -> None:
    how = ImageGS(patience=300)
    plateau = Plateau()
    fell = [
        plateau.look(100, 20.0, 0.5, how),
        plateau.look(200, 20.05, 0.5005, how),  # neither rose enough
        plateau.look(300, 20.05, 0.502, how),  # SSIM did
        plateau.look(400, 20.05, 0.502, how),
        plateau.look(500, 20.05, 0.502, how),
        plateau.look(600, 20.05, 0.502, how),  # 300 steps since
        plateau.look(900, 20.05, 0.502, how),
    ]
    assert fell == [False] * 5 + [True] * 2
    assert plateau.drops == 2


def test_rates_fall_by_ten_and_the_second_time_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagegs, "FEWEST_AFTER", 20)
    how = replace(HOW, steps=400, patience=10, rise_psnr=99.0, rise_ssim=9.0)
    under_way = ImageGSFit(_halves(), how)
    [one] = under_way.ones
    drops = []
    while under_way.left:
        under_way.advance(1)
        drops.append(one.plateau.drops)
    # All are in after 20 steps; the first look after them, at 25, is a rise from nothing.
    assert one.step == len(drops) == 45
    assert drops.index(1) + 1 == 35 and drops.index(2) + 1 == 45


def test_it_goes_on_for_3000_steps_after_the_last_addition() -> None:
    assert imagegs.FEWEST_AFTER == 3000
    how = replace(HOW, steps=60, patience=5, rise_psnr=99.0, rise_ssim=9.0)
    under_way = ImageGSFit(_halves(), how)
    under_way.advance(60)
    assert under_way.ones[0].step == 60 and under_way.ones[0].plateau.drops > 2


def test_the_defaults_are_the_published_ones() -> None:
    how = ImageGS()
    assert how.rates == (5e-4, 5e-4, 2e-3, 2e-3, 2e-3, 5e-3, 5e-3, 5e-3)
    assert (how.splats, how.steps, how.seed, how.std, how.edges) == (512, 5000, 123, 5.0, 0.7)
    assert (how.l1, how.l2, how.dissimilarity) == (1.0, 0.0, 0.1)
    assert (how.add_every, how.look_every, how.patience) == (500, 100, 1000)
    assert (how.rise_psnr, how.rise_ssim) == (0.1, 1e-3)


def test_a_fit_too_short_for_its_additions_is_refused() -> None:
    with pytest.raises(UsageError, match="over before all splats are in"):
        ImageGS(steps=2000)
    assert ImageGS(steps=2001).steps == 2001


@pytest.mark.gpu
def test_on_a_gpu_steps_are_replayed_and_are_those_that_are_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = _halves().cuda()
    replayed = ImageGSFit(image, HOW)
    replayed.advance(HOW.steps)
    assert replayed.ones[0].go.graph is not None
    monkeypatch.setattr(replay, "_FIRST", HOW.steps)
    launched = ImageGSFit(image, HOW)
    launched.advance(HOW.steps)
    assert launched.ones[0].go.graph is None
    assert replayed.splats().equal(launched.splats())
    at_home = ImageGSFit(_halves(), HOW)
    at_home.advance(HOW.steps)
    error = (replayed.splats().cpu() - at_home.splats()).abs()
    assert error.mean() < 1e-3


@pytest.mark.gpu
def test_rounded_splats_are_fitted_on_a_gpu() -> None:
    under_way = ImageGSFit(_halves().cuda(), replace(HOW, bits=(8, 8, 8, 8), blend="sum"))
    under_way.advance(HOW.steps)
    assert under_way.splats().isfinite().all()
