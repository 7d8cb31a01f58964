"""Orders of places: bijections, and Hilbert's neighbours are neighbours on any grid."""

from __future__ import annotations

import pytest
import torch

from weft.families.gaussvae.splats.curves import CODES, hilbert, order, path


def _square(bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    side = torch.arange(2**bits)
    y, x = torch.meshgrid(side, side, indexing="ij")
    return x.flatten(), y.flatten()


@pytest.mark.parametrize("curve", CODES)
@pytest.mark.parametrize("bits", [1, 2, 5])
def test_a_code_numbers_the_cells_of_a_square(curve: str, bits: int) -> None:
    codes = CODES[curve](*_square(bits), bits)
    assert codes.sort().values.equal(torch.arange(4**bits))


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_consecutive_cells_of_hilbert_s_code_share_a_side(bits: int) -> None:
    x, y = _square(bits)
    along = hilbert(x, y, bits).argsort()
    assert (x[along].diff().abs() + y[along].diff().abs()).eq(1).all()


def test_morton_s_code_interleaves_bits() -> None:
    codes = CODES["morton"](torch.tensor([0b101, 0]), torch.tensor([0, 0b11]), 3)
    assert codes.tolist() == [0b010001, 0b001010]


def test_the_largest_coordinates_keep_their_bits() -> None:
    most = torch.tensor([2**31 - 1])
    assert CODES["morton"](most, most, 31).item() == 4**31 - 1
    assert 0 <= hilbert(most, most, 31).item() < 4**31


@pytest.mark.parametrize("rows", range(1, 14))
def test_the_path_goes_through_all_cells_of_any_grid_from_neighbour_to_neighbour(
    rows: int,
) -> None:
    for columns in range(1, 14):
        cells = torch.tensor(path(rows, columns))
        assert len(set(map(tuple, cells.tolist()))) == len(cells) == rows * columns
        assert cells.min() >= 0 and (cells < torch.tensor([rows, columns])).all()
        assert cells.diff(dim=0).abs().sum(1).eq(1).all()


@pytest.mark.parametrize("curve", CODES)
def test_order_is_a_permutation_whose_codes_rise(curve: str) -> None:
    splats = torch.rand(3, 50, 8, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    found = order(splats, curve, bits=4)
    assert found.sort(-1).values.equal(torch.arange(50).expand(3, 50))
    cells = (splats[..., :2] * 16).long().clamp(0, 15)
    codes = CODES[curve](cells[..., 0], cells[..., 1], 4).gather(-1, found)
    assert (codes.diff(dim=-1) >= 0).all()
