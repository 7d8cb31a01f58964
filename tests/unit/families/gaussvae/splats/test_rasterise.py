"""Pictures of splats are what one expects of them, in every form."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weft.errors import UsageError
from weft.families.gaussvae.splats.geometry import to_rs
from weft.families.gaussvae.splats.quality import psnr
from weft.families.gaussvae.splats.rasterise import render

FORMS = ("dense", "gemm", "sdpa", "native")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("numba")
    return str(request.param)


def splats(count: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    found = torch.rand(count, 8, generator=draw)
    found[:, 2] = 1.5 + found[:, 2]
    found[:, 3:5] = torch.randn(count, 2, generator=draw) / 3
    return found


def one(**numbers: float) -> Tensor:
    """A splat in the middle, of two pixels and the colour .2 .5 .9, but for `numbers`."""
    usual = dict.fromkeys("xymabcde") | {"x": 0.5, "y": 0.5, "m": 2 * math.log(2), "a": 0.0}
    usual |= {"b": 0.0, "c": 0.2, "d": 0.5, "e": 0.9}
    return torch.tensor([list((usual | numbers).values())])


def test_one_splat_gives_its_colour_wherever_its_weight_is_not_small(form: str) -> None:
    picture = render(one(), 16, 16, form=form)
    middle = picture[:, 5:11, 5:11]
    expected = torch.tensor([0.2, 0.5, 0.9]).view(3, 1, 1).expand_as(middle)
    torch.testing.assert_close(middle, expected, rtol=5e-3, atol=0)


def test_a_splat_moved_by_whole_pixels_moves_the_picture_exactly(form: str) -> None:
    here = render(one(x=0.25, y=0.25, a=0.3, b=0.2), 32, 32, form=form)
    there = render(one(x=0.75, y=0.5, a=0.3, b=0.2), 32, 32, form=form)
    # Products count from the middle of a tile, which rounds otherwise in another place of it.
    exact = 0 if form in ("dense", "native") else 1e-6
    torch.testing.assert_close(here[:, :16, :16], there[:, 8:24, 16:], rtol=0, atol=exact)


@pytest.mark.parametrize("blend", ["normalised", "sum"])
def test_the_order_of_splats_does_not_matter(form: str, blend: str) -> None:
    if form == "sdpa" and blend == "sum":
        pytest.skip("softmax is normalised")
    given = splats(30)
    shuffled = given[torch.randperm(30, generator=torch.Generator().manual_seed(1))]
    a, b = (render(each, 20, 24, blend=blend, form=form) for each in (given, shuffled))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6 * max(1.0, float(a.max())))


def test_twice_the_height_is_the_same_picture_but_sharper(form: str) -> None:
    given = splats(40)
    small = render(given, 24, 32, form=form)
    large = render(given, 48, 64, size=(24, 32), form=form)
    assert psnr(F.avg_pool2d(large, 2), small) > 35


def test_both_layouts_draw_one_picture(form: str) -> None:
    given = splats(20)
    a, b = render(given, 20, 24, form=form), render(to_rs(given), 20, 24, layout="rs", form=form)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_corners_lie_half_a_pixel_before_centres(form: str) -> None:
    at_centre = render(one(x=0.5, y=0.5), 16, 16, form=form)
    at_corner = render(one(x=0.5 - 1 / 32, y=0.5 - 1 / 32), 16, 16, sampling="corner", form=form)
    assert torch.equal(at_centre, at_corner)


@pytest.mark.parametrize("cut", [3.5, math.inf])
def test_what_is_no_number_shows_in_the_picture(form: str, cut: float) -> None:
    for column in (0, 2, 3, 5):
        given = splats(3)
        given[1, column] = math.nan
        assert render(given, 8, 8, cut=cut, form=form).isnan().any()


def test_pictures_keep_the_shape_of_what_stands_before_the_splats(form: str) -> None:
    given = torch.stack([splats(5, seed) for seed in range(6)]).view(2, 3, 5, 8)
    pictures = render(given, 9, 11, form=form)
    assert pictures.shape == (2, 3, 3, 9, 11)
    torch.testing.assert_close(pictures[1, 2], render(given[1, 2], 9, 11, form=form))


def test_no_splats_are_black_and_no_pictures_are_none(form: str) -> None:
    black = torch.zeros(2, 0, 8, requires_grad=True)
    picture = render(black, 9, 11, form=form)
    assert picture.shape == (2, 3, 9, 11) and not picture.any()
    picture.sum().backward()
    assert render(torch.zeros(0, 4, 8), 9, 11, form=form).shape == (0, 3, 9, 11)


def test_half_precision_neither_enters_nor_leaves(form: str) -> None:
    given = splats(10)
    plain = render(given, 12, 12, form=form)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(render(given, 12, 12, form=form), plain)
    coarse = given.bfloat16()
    assert torch.equal(render(coarse, 12, 12, form=form), render(coarse.float(), 12, 12, form=form))


def test_a_splat_of_no_scale_is_a_band_without_end(form: str) -> None:
    band = torch.tensor([[0.5, 0.5, 0.0, 1.0, 0.0, 0.2, 0.5, 0.9]])
    picture = render(band, 8, 24, layout="rs", form=form)
    assert torch.equal(picture, picture[..., :1].expand_as(picture)) and picture[0, 4, 0] > 0.19


@pytest.mark.parametrize(
    "wrong",
    [
        {"layout": "polar"},
        {"blend": "max"},
        {"sampling": "edge"},
        {"form": "fast"},
        {"topk": -1},
        {"cut": 0.0},
        {"cut": math.nan},
        {"size": (0, 4)},
        {"form": "sdpa", "blend": "sum"},
        {"form": "sdpa", "topk": 1},
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        render(splats(3), 8, 8, **wrong)


def test_splats_of_another_width_are_refused() -> None:
    with pytest.raises(UsageError, match="shape"):
        render(torch.zeros(3, 7), 8, 8)
    with pytest.raises(UsageError):
        render(splats(3), 0, 8)
