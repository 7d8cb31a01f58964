"""Fits: the same whatever the company, held within bounds, and by kernel as by autograd."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae import fit, render
from weft.families.gaussvae.splats.anchored import (
    Anchored,
    AnchoredFit,
    centres,
    grid,
    placed,
    start,
)
from weft.families.gaussvae.splats.fit import as_unit, begin, judged
from weft.families.gaussvae.splats.geometry import RATIO_LOG_MOST, STD_LEAST
from weft.families.gaussvae.splats.imagegs import ImageGS

HOWS = {
    "grid": Anchored(splats=12, steps=14),
    "grid by autograd": Anchored(splats=12, steps=6, form="dense"),
    "imagegs": ImageGS(splats=12, steps=14, add_every=2, look_every=4),
    "imagegs in few bits": ImageGS(splats=12, steps=14, add_every=2, bits=(8, 7, 6, 5)),
}


def _pictures(count: int, height: int = 12, width: int = 20) -> Tensor:
    """Smooth, each of its own colours."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 3, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def _fitted(images: Tensor, how: Anchored | ImageGS, block: int = 100) -> Tensor:
    under_way = begin(images, how)
    while under_way.left:
        under_way.advance(block)
    return judged(under_way, images).splats


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in HOWS), ("grid", 2)])
def test_a_picture_s_splats_do_not_depend_on_its_company(name: str, threads: int) -> None:
    images, before = _pictures(5), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = _fitted(images, HOWS[name])
        alone = torch.cat([_fitted(image[None], HOWS[name]) for image in images])
        reversed_ = _fitted(images.flip(0), HOWS[name]).flip(0)
    finally:
        torch.set_num_threads(before)
    assert together.equal(alone) and together.equal(reversed_)


@pytest.mark.parametrize("name", HOWS)
def test_it_does_not_depend_on_how_many_steps_are_taken_at_once(name: str) -> None:
    images = _pictures(2)
    assert _fitted(images, HOWS[name], 1).equal(_fitted(images, HOWS[name], 5))


@pytest.mark.parametrize("name", HOWS)
def test_a_fit_that_is_restored_goes_on_exactly(name: str) -> None:
    images, how = _pictures(2), HOWS[name]
    wanted = begin(images, how)
    wanted.advance(how.steps)
    for taken in (1, 3, 5):
        left, later = begin(images, how), begin(images, how)
        left.advance(taken)
        later.restore(left.state())
        later.advance(how.steps)
        assert later.splats().equal(wanted.splats())


@pytest.mark.parametrize("blend", ["normalised", "sum"])
@pytest.mark.parametrize("size", [(12, 20), (9, 16)])
def test_the_kernel_goes_down_as_autograd_does(blend: str, size: tuple[int, int]) -> None:
    pytest.importorskip("numba")
    images = _pictures(2, *size)
    how = Anchored(splats=12, steps=5, blend=blend)
    compiled = _fitted(images, how)
    by_autograd = _fitted(images.double().float(), replace(how, form="dense"))
    assert (compiled - by_autograd).abs().max() < 2e-4


@pytest.mark.parametrize("name", HOWS)
def test_a_fit_comes_nearer_and_says_how_near(name: str) -> None:
    images, how = _pictures(2), HOWS[name]
    first = begin(images, how)
    before = judged(first, images)
    first.advance(how.steps)
    after = judged(first, images)
    shown = render(after.splats, 12, 20, form="dense").clamp(0, 1)
    exact = -10 * (shown - images).square().mean((1, 2, 3)).log10()
    assert after.psnr.tolist() == pytest.approx(exact.tolist(), abs=0.01)
    assert (after.psnr > before.psnr + 0.1).all() and after.ssim.max() <= 1


def test_rates_that_are_far_too_high_leave_finite_splats_within_bounds() -> None:
    noise = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(1))
    for form in ("auto", "dense"):
        splats = _fitted(noise, Anchored(splats=12, steps=30, rate=30.0, form=form))
        assert splats.isfinite().all()
        m, a, b = splats[..., 2], splats[..., 3], splats[..., 4]
        assert m.min() >= 2 * math.log(STD_LEAST) - 1e-5
        assert m.max() <= 2 * math.log(20) + 1e-5
        assert torch.hypot(a, b).max() <= RATIO_LOG_MOST + 1e-4
        assert splats[..., 5:].min() == 0 and splats[..., 5:].max() == 1
    wild = ImageGS(splats=12, steps=30, add_every=2, rate_scale=30.0, rate_position=3.0)
    assert _fitted(noise, wild).isfinite().all()


def test_splats_start_round_in_the_middle_of_their_cells_with_the_mean_colour() -> None:
    images, cells = _pictures(1), (3, 5)
    free = start(images, cells)
    splats = placed(free, cells)[0]
    assert splats[:, :2].equal(centres(cells))
    assert free[..., :2].eq(0).all() and free[..., 3:5].eq(0).all()
    for splat in splats:
        row, column = int(splat[1] * 3), int(splat[0] * 5)
        patch = images[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert splat[5:].tolist() == pytest.approx(patch.mean((1, 2)).tolist(), abs=1e-6)


def test_splats_stay_within_a_cell_s_size_of_their_cell() -> None:
    images = _pictures(1)
    under_way = AnchoredFit(images, Anchored(splats=15, steps=30, rate=1.0))
    under_way.advance(30)
    away = (under_way.splats()[0, :, :2] - centres((3, 5))).abs()
    assert (away <= torch.tensor([1 / 5, 1 / 3]) + 1e-6).all()


@pytest.mark.parametrize(
    ("splats", "size", "cells"),
    [
        (64, (32, 32), (8, 8)),
        (512, (32, 32), (16, 32)),
        (1000, (512, 768), (25, 40)),
        (1000, (768, 512), (40, 25)),
        (10_000, (512, 768), (80, 125)),
    ],
)
def test_a_grid_is_in_the_proportion_of_the_picture(
    splats: int, size: tuple[int, int], cells: tuple[int, int]
) -> None:
    assert grid(splats, *size) == cells


def test_a_number_without_such_a_grid_is_refused_and_others_named() -> None:
    with pytest.raises(UsageError, match="13 splats make no grid") as caught:
        fit(_pictures(1), 13)
    for number in map(int, caught.value.expected.removeprefix("for instance ").split(", ")):
        assert grid(number, 12, 20)


def test_bytes_one_picture_and_progress_are_taken() -> None:
    image = (_pictures(1)[0] * 255).round().byte()
    left: list[int] = []
    found = fit(image, 12, steps=3, progress=left.append)
    assert found.splats.shape == (1, 12, 8) and found.cells == (3, 4) and left == [0]
    assert found.splats.equal(fit(image[None].float() / 255, 12, steps=3).splats)


@pytest.mark.parametrize(
    ("images", "options"),
    [
        (torch.zeros(2, 1, 8, 8), {}),
        (torch.zeros(0, 3, 8, 8), {}),
        (torch.full((1, 3, 8, 8), 2.0), {}),
        (torch.full((1, 3, 8, 8), math.nan), {}),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), {}),
        (torch.zeros(1, 3, 8, 8), {"mode": "random"}),
        (torch.zeros(1, 3, 8, 8), {"patience": 3}),
        (torch.zeros(1, 3, 8, 8), {"mode": "imagegs", "steps": 2000}),
        (torch.zeros(1, 3, 2, 2), {"mode": "imagegs"}),
        (torch.zeros(1, 3, 8, 8), {"splats": 0}),
        (torch.zeros(1, 3, 8, 8), {"splats": 0, "mode": "imagegs"}),
        (torch.zeros(1, 3, 8, 8), {"steps": -1}),
    ],
)
def test_what_cannot_be_fitted_is_a_usage_error(images: Tensor, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        fit(images, **{"splats": 16, **options})


def test_floats_of_any_kind_become_float32() -> None:
    assert as_unit(torch.ones(3, 2, 2, dtype=torch.float64)).dtype == torch.float32
