"""The native form gives the same numbers in any company, and is missed by nobody."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from weft.errors import MissingExtra, UsageError
from weft.families.gaussvae.forms import dispatch
from weft.families.gaussvae.splats.geometry import Frame, ellipses, spans
from weft.families.gaussvae.splats.rasterise import render

pytest.importorskip("numba")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def splats(pictures: int, count: int) -> Tensor:
    found = torch.rand(pictures, count, 8, generator=torch.Generator().manual_seed(0))
    found[..., 2] = 2 * found[..., 2] + 1
    found[..., 3:5] -= 0.5
    return found


def drawn(some: Tensor, size: int, topk: int = 0) -> tuple[Tensor, Tensor]:
    free = some.clone().requires_grad_()
    pictures = render(free, size, size, topk=topk, form="native")
    pictures.square().sum().backward()
    assert free.grad is not None
    return pictures.detach(), free.grad


@cache
def extend() -> Any:
    """`extents` of one splat, into its `shapes`."""
    from weft.families.gaussvae.forms.compiled import compiled
    from weft.families.gaussvae.forms.lanes import both, spread
    from weft.families.gaussvae.forms.reach import FALL, SHAPE, extents
    from weft.families.gaussvae.forms.transposed import columns, store_columns

    zero = np.float32(0)

    @compiled
    def run(shapes: Any, cut: Any, most: int) -> None:
        x, _, a, b, c, _, _, _ = columns(shapes, 0, SHAPE, 1)
        none = both(spread(zero), spread(zero))
        store_columns(shapes, FALL, SHAPE, 1, none, *extents(x, a, b, c, cut, most), none, none)

    return run


def enclosed(shape: list[float], cut: float, most: int) -> tuple[Any, int, int]:
    """`shapes` of one splat, x, y, A, B, C, and its columns of eights: first and first behind."""
    from weft.families.gaussvae.forms import reach

    shapes = np.zeros((1, reach.SHAPE), np.float32)
    shapes[0, :5] = shape
    extend()(shapes, np.float32(cut), most)
    first = int(shapes[0, reach.FIRST])
    return shapes, first, first + int(shapes[0, reach.COLUMNS])


@pytest.mark.parametrize("most", [1, 4, 32, 33, 1000])
def test_no_splat_reaches_beyond_the_last_pixel(most: int) -> None:
    just_below = np.nextafter(np.float32(most), np.float32(0))
    for value in (just_below, np.float32(most), np.float32(np.inf), np.float32(np.nan)):
        # A splat without extent lies in the column of its centre.
        _, first, last = enclosed([8 * float(value), 0, 1, 0, 1], 0.0, most)
        assert 0 <= first <= last == most
    for value in (np.float32(-1e-9), np.float32(-5), np.float32(-np.inf)):
        assert enclosed([8 * float(value), 0, 1, 0, 1], 0.0, most)[1:] == (0, 0)


def reached(shape: list[float], cut: float, height: int, width: int) -> list[tuple[int, int]]:
    """Rows and eights of them that the list names for one splat: x, y, A, B, C."""
    from weft.families.gaussvae.forms import reach

    shapes, first, last = enclosed(shape, cut, width // 8)
    room = last - first + reach.SPARE
    strips = np.full(room * reach.FIELDS, -1, np.int32)
    starts = np.empty(room * reach.STARTS, np.float32)
    ends = np.array([last - first])
    reach.reach(shapes, ends, np.float32(cut), height, strips, starts)
    found = []
    for index in range(last - first):
        n, column, begin, end, pace = reach.strip(strips, index)
        assert n == 0 and pace in (1, 16)
        found += [(row, column) for row in range(begin, end)]
    return found


any_float = st.floats(width=32)


@given(any_float, any_float, any_float, any_float, any_float, st.sampled_from([3.5, math.inf]))
def test_whatever_a_splat_is_it_stays_in_the_picture(
    x: float, y: float, a: float, b: float, c: float, cut: float
) -> None:
    found = reached([x, y, a, b, c], cut, 17, 80)
    assert len(set(found)) == len(found)
    assert all(0 <= row < 17 and 0 <= column < 10 for row, column in found)


def test_a_splat_reaches_what_its_spans_say() -> None:
    frame = Frame(0, 40, 88, 40, 88, 0.5, 3.5, normalised=True, topk=0)
    some = ellipses(splats(1, 50), frame)
    firsts, lasts = spans(some, frame)
    for n in range(50):
        found = reached([float(part[0, n]) for part in some[:5]], 3.5, 40, 88)
        assert sorted(found) == [
            (row, column)
            for row in range(40)
            for column in range(firsts[0, n, row] // 8, lasts[0, n, row] // 8)
        ]


def test_powers_of_e_are_right_to_the_last_digit() -> None:
    from weft.families.gaussvae.forms.compiled import compiled
    from weft.families.gaussvae.forms.lanes import exponential, load, store

    @compiled
    def run(given: Any, found: Any) -> None:
        for i in range(0, len(given), 8):
            store(found, i, exponential(load(given, i)))

    given = np.linspace(-80, 80, 8000).astype(np.float32)
    found = np.empty_like(given)
    run(given, found)
    np.testing.assert_allclose(found, np.exp(given.astype(np.float64)), rtol=1.2e-7)
    given = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1, 200, -200], np.float32)
    found = np.empty_like(given)
    run(given, found)
    np.testing.assert_allclose(found[3:6], [1, 1, math.e], rtol=1.2e-7)
    assert np.isnan(found[0]) and np.isfinite(found[1:]).all()


@pytest.mark.parametrize("layout", ["logcov", "rs"])
@pytest.mark.parametrize("count", [1, 8, 9, 15, 16, 17, 40])
def test_splats_beside_the_last_sixteen_are_drawn_as_the_formula_says(
    layout: str, count: int
) -> None:
    # Sixteen are laid at a time. Some (a, b) lie beyond what is allowed, some m below.
    some = splats(2, count)
    some[..., 2] -= 6.0 * (torch.arange(count) % 5 == 0)
    some[..., 3:5] *= torch.linspace(0.1, 9, count)[:, None]
    if layout == "rs":
        some[..., 2:4] = some[..., 5:7] + 0.1
    native, dense = some.clone().requires_grad_(), some.double().requires_grad_()
    slope = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    found = render(native, 24, 24, layout=layout, form="native")
    wanted = render(dense, 24, 24, layout=layout, form="dense")
    found.backward(slope)
    wanted.backward(slope.double())
    torch.testing.assert_close(found.detach().double(), wanted.detach(), rtol=0, atol=3e-5)
    assert native.grad is not None and dense.grad is not None
    for column in range(8):
        by, exact = native.grad[..., column].double(), dense.grad[..., column]
        torch.testing.assert_close(by, exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))


@pytest.mark.parametrize("topk", [0, 3])
@pytest.mark.parametrize("log_size", [-3.0, 0.0, 6.0])
def test_thin_and_tall_splats_are_drawn_as_the_formula_says(log_size: float, topk: int) -> None:
    # Thin ones: their weights may not be had by ratios. Tall ones: these are begun anew.
    some = splats(1, 12).double()
    some[..., 2] = log_size
    some[..., 3:5] *= 2
    some[..., :5] = some[..., :5].float()
    found, slopes = drawn(some.float(), 48, topk)
    free = some.requires_grad_()
    wanted = render(free, 48, 48, topk=topk, form="dense")
    wanted.square().sum().backward()
    assert free.grad is not None
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)
    assert (slopes - free.grad).abs().max() < 1e-4 * free.grad.abs().max()


def test_a_picture_too_large_for_the_lists_is_refused() -> None:
    with pytest.raises(UsageError, match="16777217"):
        render(splats(1, 1), 1, 2**24 + 1, form="native")


@pytest.mark.parametrize("topk", [0, 2])
def test_a_picture_does_not_depend_on_how_many_are_drawn(topk: int) -> None:
    some = splats(5, 20)
    together = drawn(some, 20, topk)
    for m in range(5):
        alone = drawn(some[m : m + 1], 20, topk)
        assert all(torch.equal(a[0], b[m]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("pictures", [1, 3])
def test_no_number_depends_on_threads(threads: None, pictures: int) -> None:
    # Large enough for several bands of rows and several parts of the splats.
    some = splats(pictures, 300)
    torch.set_num_threads(1)
    once = drawn(some, 160)
    for count in (2, 5):
        torch.set_num_threads(count)
        assert all(torch.equal(a, b) for a, b in zip(once, drawn(some, 160), strict=True))


def test_slopes_may_come_in_any_strides() -> None:
    some = splats(2, 6).requires_grad_()
    pictures = render(some, 10, 12, form="native")
    pull = torch.rand(12, 10, 3, 2)
    (strided,) = torch.autograd.grad((pictures * pull.permute(3, 2, 1, 0)).sum(), some)
    again = render(some, 10, 12, form="native")
    (plain,) = torch.autograd.grad((again * pull.permute(3, 2, 1, 0).contiguous()).sum(), some)
    assert torch.equal(strided, plain)


def test_another_kind_of_numbers_takes_a_portable_form_silently() -> None:
    some = splats(1, 5).double()
    assert render(some, 8, 8).dtype == torch.float64
    with pytest.raises(UsageError, match="float64"):
        render(some, 8, 8, form="native")


def test_without_numba_the_portable_form_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    some = splats(1, 5)
    native = render(some, 8, 8)
    monkeypatch.setattr(dispatch, "has_numba", lambda: False)
    dispatch._notice.cache_clear()
    with pytest.warns(UserWarning, match=r"weft\[splats\]"):
        portable = render(some, 8, 8)
    torch.testing.assert_close(portable, native, rtol=0, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render(some, 8, 8)
        render(some, 8, 8, topk=2)
    with pytest.raises(MissingExtra, match="numba"):
        render(some, 8, 8, form="native")


SCRIPT = """
import os, sys, torch
import weft
assert "numba" not in sys.modules
from weft.families.gaussvae import render
assert "numba" not in sys.modules
torch.set_num_threads(2)
some = torch.rand(4, 30, 8, generator=torch.Generator().manual_seed(0))
def step():
    free = some.clone().requires_grad_()
    picture = render(free, 24, 24, form="native")
    picture.sum().backward()
    return picture, free.grad
before = step()
child = os.fork()
same = all(torch.equal(a, b) for a, b in zip(before, step()))
if child == 0:
    os._exit(0 if same else 3)
assert same and os.waitpid(child, 0)[1] == 0
"""


def run(script: str, **environment: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "HOME"}
    subprocess.run([sys.executable, "-c", script], env=kept | environment, check=True, timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_draws_on(tmp_path: Path) -> None:
    run(SCRIPT, HOME=str(Path.home()))


def test_machine_code_that_others_may_write_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weft.families.gaussvae.forms import compiled

    monkeypatch.setattr(compiled._CONFIG, "CACHE_DIR", str(tmp_path))
    compiled._folder.cache_clear()
    folder = Path(compiled._folder())
    assert folder.parent == tmp_path
    folder.chmod(0o777)
    compiled._folder.cache_clear()
    assert compiled._folder() == ""
    compiled._folder.cache_clear()


@pytest.mark.slow
def test_machine_code_is_kept_where_one_may_write_and_nowhere_else(tmp_path: Path) -> None:
    # A picture is enough: to compile the way back takes as long again.
    script = SCRIPT.partition("child =")[0].replace("picture.sum().backward()", "return picture")
    run(script, NUMBA_CACHE_DIR=str(tmp_path / "chosen"))
    assert list((tmp_path / "chosen").rglob("*.nbi"))
    (tmp_path / "file").touch()
    run(script, WEFT_CACHE=str(tmp_path / "file"), NUMBA_CACHE_DIR="")
