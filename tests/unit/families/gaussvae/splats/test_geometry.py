"""Two layouts say the same of a splat, and the ellipse is that of its covariance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from weft.families.gaussvae.splats.geometry import (
    BLOCK,
    Frame,
    ellipses,
    enlarged,
    spans,
    to_logcov,
    to_rs,
)

angles = st.floats(-7, 7)
deviations = st.floats(0.3, 12)


def rs(deviation: float, other: float, angle: float) -> Tensor:
    numbers = [0.3, 0.6, 1 / deviation, 1 / other, angle, 0.2, 0.5, 0.9]
    return torch.tensor([numbers], dtype=torch.float64)


def frame(layout: int = 0, height: int = 32, width: int = 32, cut: float = 3.5) -> Frame:
    return Frame(layout, height, width, height, width, 0.5, cut, normalised=True, topk=0)


def conic(splats: Tensor, layout: int = 0) -> Tensor:
    shapes = ellipses(splats, frame(layout))
    return torch.stack([shapes.a, shapes.b, shapes.c], -1)


@given(deviations, deviations, angles)
@example(3.0, 1.0, -1e-30)
@settings(max_examples=20)
def test_both_layouts_stand_for_one_ellipse(long: float, short: float, angle: float) -> None:
    original = rs(long, short, angle)
    torch.testing.assert_close(conic(to_logcov(original)), conic(original, 1))
    back = to_rs(to_logcov(original))
    torch.testing.assert_close(conic(back, 1), conic(original, 1))
    s1, s2, theta = back[0, 2:5].tolist()
    assert s1 <= s2 and 0 <= theta < math.pi


@given(deviations, deviations, angles)
@settings(max_examples=20)
def test_logcov_knows_no_difference_between_names_of_one_splat(
    long: float, short: float, angle: float
) -> None:
    expected = to_logcov(rs(long, short, angle))
    for same in (
        rs(long, short, angle + math.pi),
        rs(short, long, angle + math.pi / 2),
        rs(-long, short, angle),
        rs(long, -short, angle),
    ):
        torch.testing.assert_close(to_logcov(same), expected, rtol=1e-9, atol=1e-9)


@given(st.floats(-1, 3), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=20)
def test_the_conic_is_the_inverse_of_the_covariance(m: float, a: float, b: float) -> None:
    log = torch.tensor([[m + a, b], [b, m - a]], dtype=torch.float64)
    inverse = torch.linalg.matrix_exp(-log)
    found = conic(torch.tensor([[0.5, 0.5, m, a, b, 0, 0, 0]], dtype=torch.float64))[0]
    torch.testing.assert_close(found, inverse[[0, 0, 1], [0, 1, 1]])


@pytest.mark.parametrize("r", [0.0, 1e-4, 0.2499, 0.2501, 1.0, 3.9])
def test_the_conic_is_smooth_where_the_splat_is_round_and_where_the_series_ends(r: float) -> None:
    shape = torch.tensor([0.5, 0.5, 0.7, r * 0.6, r * 0.8, 0, 0, 0], dtype=torch.float64)
    assert torch.autograd.gradcheck(conic, shape.view(1, 8).requires_grad_())
    near = torch.autograd.functional.jacobian(conic, shape.view(1, 8).float())
    exact = torch.autograd.functional.jacobian(conic, shape.view(1, 8))
    torch.testing.assert_close(near.double(), exact, rtol=2e-5, atol=2e-5)


def test_an_elongated_splat_points_where_its_angle_says_from_x_towards_y() -> None:
    long = rs(4, 1, math.radians(30))
    for splats, layout in ((long, 1), (to_logcov(long), 0)):
        a, b, c = conic(splats, layout)[0].tolist()
        along = torch.tensor([math.cos(math.radians(30)), math.sin(math.radians(30))]).double()
        matrix = torch.tensor([[a, b], [b, c]], dtype=torch.float64)
        torch.testing.assert_close(matrix @ along, along / 16)


def test_shapes_are_held_within_what_a_picture_can_show() -> None:
    wild = torch.tensor([[0.5, 0.5, -50.0, 0, 0, 0, 0, 0], [0.5, 0.5, 50.0, 0, 0, 0, 0, 0]])
    a, _, c = conic(wild).unbind(-1)
    torch.testing.assert_close(a, torch.tensor([1 / 0.05**2, 1 / 32**2]))
    torch.testing.assert_close(a, c)
    needle = torch.tensor([[0.5, 0.5, 0.0, 30.0, -40.0, 0, 0, 0]]).double()
    a, b, c = conic(needle)[0].tolist()
    longest = torch.linalg.eigvalsh(torch.tensor([[a, b], [b, c]], dtype=torch.float64))
    torch.testing.assert_close(longest, torch.tensor([-4.0, 4.0]).double().exp())


def test_a_scale_of_zero_is_a_long_splat_and_no_infinity() -> None:
    assert to_logcov(torch.tensor([[0.5, 0.5, 0, 1, 0.3, 0, 0, 0]])).isfinite().all()


def test_an_enlarged_splat_covers_as_many_times_the_pixels() -> None:
    splats = torch.rand(4, 8, dtype=torch.float64)
    assert torch.equal(
        enlarged(splats, 2)[:, [0, 1, 3, 4, 5, 6, 7]], splats[:, [0, 1, 3, 4, 5, 6, 7]]
    )
    torch.testing.assert_close(conic(enlarged(splats, 2)), conic(splats) / 4)


@given(st.integers(0, 2**32))
@settings(max_examples=30)
def test_spans_hold_the_ellipse_and_little_else(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    splats = torch.rand(6, 8, generator=draw, dtype=torch.float64)
    splats[:, 2:5] = 2 * torch.randn(6, 3, generator=draw, dtype=torch.float64)
    where = frame(height=21, width=29, cut=3.0)
    x, y, a, b, c, _ = ellipses(splats, where)
    dx = torch.arange(29) - x[:, None, None]
    dy = torch.arange(21)[:, None] - y[:, None, None]
    a, b, c = (part[:, None, None] for part in (a, b, c))
    inside = a * dx * dx + 2 * b * dx * dy + c * dy * dy <= 9
    first, last = (edge.unsqueeze(-1) for edge in spans(ellipses(splats, where), where))
    columns = torch.arange(29)
    reached = (columns >= first) & (columns < last)
    assert reached[inside].all()
    for edge in (first, last):
        assert ((edge % BLOCK == 0) | (edge == 29)).all()
    beyond = (a * c - b * b) * dy * dy > 9 * a
    assert not reached[beyond.expand_as(reached)].any()
