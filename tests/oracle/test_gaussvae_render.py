"""Every form of the renderer draws, and pulls at splats, as the literal one does in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.families.gaussvae import reference
from weft.families.gaussvae.splats.geometry import LAYOUTS, Frame, ellipses, to_rs
from weft.families.gaussvae.splats.rasterise import render

HEIGHT, WIDTH = 19, 27

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "far": {"cut": 8.0},
    "all": {"cut": math.inf},
    "topk": {"topk": 3},
    "sum": {"blend": "sum"},
    "sum of topk": {"blend": "sum", "topk": 3, "cut": math.inf},
    "corner": {"sampling": "corner"},
    "larger": {"size": (10, 9)},
}


def splats(*shape: int, seed: int = 0) -> Tensor:
    """Splats of one to five pixels, round and long, some centres outside; (*shape, 8)."""
    draw = torch.Generator().manual_seed(seed)
    found = torch.rand(*shape, 8, generator=draw)
    found[..., :2] = 1.2 * found[..., :2] - 0.1
    found[..., 2] = 3 * found[..., 2]
    found[..., 3:5] = torch.randn(*shape, 2, generator=draw) / 2
    found[..., 0, 3:5] = 0
    return found


def in_layout(given: Tensor, layout: str) -> Tensor:
    return given if layout == "logcov" else to_rs(given)


def picture_and_slopes(given: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    free = given.clone().requires_grad_()
    picture = render(free, HEIGHT, WIDTH, **options)
    pull = torch.linspace(-1, 1, picture[0].numel(), dtype=given.dtype).view_as(picture[0])
    (picture * pull).sum().backward()
    assert free.grad is not None
    return picture.detach(), free.grad


def able(form: str, options: dict[str, Any]) -> bool:
    return form != "sdpa" or not ("topk" in options or "blend" in options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_all_forms_agree_with_the_reference_in_float64(layout: str, name: str) -> None:
    pytest.importorskip("numba")
    options = OPTIONS[name]
    given = in_layout(splats(2, 12), layout)
    picture, slopes = picture_and_slopes(given.double(), layout=layout, form="dense", **options)
    for form in ("dense", "gemm", "sdpa", "native"):
        if able(form, options):
            drawn, pulled = picture_and_slopes(given, layout=layout, form=form, **options)
            assert (drawn - picture).abs().max() < 1e-5, form
            off = (pulled - slopes).flatten(0, 1).norm(dim=0) / slopes.flatten(0, 1).norm(dim=0)
            assert off.max() < 1e-4, form


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_the_slopes_of_the_reference_are_those_of_its_picture(layout: str, name: str) -> None:
    options = OPTIONS[name]
    given = in_layout(splats(4).double(), layout).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda free: render(free, 3, 9, layout=layout, form="dense", **options),
        given,
        fast_mode=name != "plain",
    )


def test_the_reference_is_the_formula_summed_pixel_by_pixel() -> None:
    given = splats(3).double()
    frame = Frame(0, 4, 5, 4, 5, shift=0.5, cut=math.inf, normalised=True, topk=0)
    drawn = reference.blend(ellipses(given, frame), frame)
    for j in range(4):
        for i in range(5):
            total, weights = torch.zeros(3, dtype=torch.float64), 1e-4
            for x, y, m, a, b, *colour in given.tolist():
                log = torch.tensor([[m + a, b], [b, m - a]], dtype=torch.float64)
                d = torch.tensor([i - x * 5 + 0.5, j - y * 4 + 0.5], dtype=torch.float64)
                w = math.exp(-0.5 * float(d @ torch.linalg.matrix_exp(-log) @ d))
                total += w * torch.tensor(colour, dtype=torch.float64)
                weights += w
            torch.testing.assert_close(drawn[:, j, i], total / weights)


def on_a_gpu(given: Tensor, height: int, width: int, **options: Any) -> tuple[Tensor, Tensor]:
    free = given.cuda().requires_grad_()
    drawn = render(free, height, width, **options)
    pull = torch.linspace(-1, 1, drawn[0].numel(), device="cuda").view_as(drawn[0])
    (drawn * pull).sum().backward()
    assert free.grad is not None
    return drawn.detach().cpu(), free.grad.cpu()


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["triton", "sdpa", "gemm", "dense"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_gpu_draws_what_the_reference_draws(name: str, layout: str, form: str) -> None:
    options = OPTIONS[name]
    if not able(form, options) or (form == "triton" and "topk" in options):
        pytest.skip("the form does not know these options")
    given = in_layout(splats(2, 12), layout)
    picture, slopes = picture_and_slopes(given.double(), layout=layout, form="dense", **options)
    drawn, pulled = on_a_gpu(given, HEIGHT, WIDTH, layout=layout, form=form, **options)
    assert (drawn - picture).abs().max() < 1e-5 * max(1.0, float(picture.abs().max()))
    off = (pulled - slopes).flatten(0, 1).norm(dim=0) / slopes.flatten(0, 1).norm(dim=0)
    assert off.max() < 1e-4


@pytest.mark.gpu
def test_many_splats_are_drawn_by_a_gpu_as_natively_and_the_same_twice() -> None:
    pytest.importorskip("numba")
    given = splats(3, 600)
    free = given.clone().requires_grad_()
    picture = render(free, 70, 90, form="native")
    (picture * torch.linspace(-1, 1, picture[0].numel()).view_as(picture[0])).sum().backward()
    assert free.grad is not None
    drawn, pulled = on_a_gpu(given, 70, 90, form="triton")
    # A pixel that is reached or not by a hair may differ by what the cut leaves there.
    assert (drawn - picture).abs().mean() < 1e-6
    assert (pulled - free.grad).norm() < 1e-3 * free.grad.norm()
    again = on_a_gpu(given, 70, 90, form="triton")
    assert again[0].equal(drawn) and again[1].equal(pulled)
