"""Pictures of splats and their gradients: the native form against the dense ones and a floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from weft.families.gaussvae.forms.dispatch import has_numba
from weft.families.gaussvae.splats.geometry import BLOCK, Frame, ellipses, spans
from weft.families.gaussvae.splats.rasterise import CUT, render
from weft.task.bench import Case, Form


def rendering_cases() -> Iterator[Case]:
    """Forward and backward of N = 512 splats, and of 64 as they stand for pictures of 32 x 32.

    `native` cuts splats off as fits and decoding do. The dense forms do without, which costs them
    less than to mask what is cut; `native-all` draws what they draw. `floor` has the products and
    sums of `native`, for the picture and for the gradient, and nothing else. Without numba there
    are the dense forms alone. Where a GPU is at hand it draws more pictures of each size at once.
    """
    yield _case("render-64", _splats(8, 512, 64), 64)
    yield _case("render-128", _splats(2, 512, 128), 128)
    yield _case("render-32", _splats(256, 64, 32), 32, dense=("sdpa",))
    yield _case("render-64-top10", _splats(8, 512, 64), 64, topk=10, dense=())
    yield _case("render-256", _splats(1, 512, 256), 256, full=True)
    yield _case("render-512", _splats(1, 10000, 512), 512, dense=(), full=True)
    if torch.cuda.is_available():
        yield _case_of_gpu("render-64-cuda", 64, 512, 64)
        yield _case_of_gpu("render-128-cuda", 16, 512, 128)
        yield _case_of_gpu("render-256-cuda", 4, 512, 256)
        yield _case_of_gpu("render-32-cuda", 512, 256, 32)
        yield _case_of_gpu("render-512-cuda", 1, 10000, 512, dense=())


def _case(
    name: str,
    splats: Tensor,
    size: int,
    *,
    topk: int = 0,
    dense: tuple[str, ...] = ("sdpa", "gemm", "dense"),
    full: bool = False,
) -> Case:
    forms: dict[str, Callable[[], Form]] = {}
    if has_numba():
        forms["native"] = partial(_drawn, splats, size, "native", CUT, topk)
        forms["floor"] = partial(_floor, splats, size)
    if has_numba() and "dense" in dense:
        forms["native-all"] = partial(_drawn, splats, size, "native", math.inf, windows=5)
    for form in dense:
        forms[form] = partial(_drawn, splats, size, form, math.inf, windows=3)
    baselines = tuple(form for form in ("floor", *dense) if form in forms)
    return Case(name, forms, baselines, full)


def _case_of_gpu(
    name: str, pictures: int, count: int, size: int, dense: tuple[str, ...] = ("sdpa", "dense")
) -> Case:
    splats = _splats(pictures, count, size).cuda()
    forms = {"triton": partial(_drawn, splats, size, "triton", CUT)}
    if dense:
        forms["triton-all"] = partial(_drawn, splats, size, "triton", math.inf)
    forms |= {form: partial(_drawn, splats, size, form, math.inf, windows=5) for form in dense}
    return Case(name, forms, dense)


def _splats(pictures: int, count: int, size: int) -> Tensor:
    """Splats much as a fit leaves them: sigma half their spacing, and longer than wide."""
    draw = torch.Generator().manual_seed(0)
    found = torch.rand(pictures, count, 8, generator=draw)
    found[..., 2:5] = torch.randn(pictures, count, 3, generator=draw) / 3
    found[..., 2] += 2 * math.log(size / math.sqrt(count) / 2)
    return found


def _drawn(
    splats: Tensor, size: int, form: str, cut: float, topk: int = 0, windows: int = 20
) -> Form:
    free = splats.clone().requires_grad_()
    slope = torch.randn(len(splats), 3, size, size, device=splats.device)

    def step() -> None:
        free.grad = None
        render(free, size, size, topk=topk, cut=cut, form=form).backward(slope)
        if splats.is_cuda:
            torch.cuda.synchronize()

    return Form(
        step,
        windows=windows,
        steps_per_window=5 if windows == 20 else 1,
        device=splats.device.type,
    )


def _floor(splats: Tensor, size: int) -> Form:
    from weft.families.gaussvae.bench.floor import arithmetic

    frame = Frame(0, size, size, size, size, 0.5, CUT, normalised=True, topk=0)
    first, last = spans(ellipses(splats, frame), frame)
    eights = int((last - first).sum()) // BLOCK
    return Form(lambda: arithmetic(eights))
