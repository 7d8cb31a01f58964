"""Errors of the groups of columns, and how the losses weigh them."""

from __future__ import annotations

import pytest
import torch

from weft.families.gaussvae.objective import picture_error, reconstruction, weighted
from weft.families.gaussvae.options.sections import GroupWeights
from weft.families.gaussvae.terms.groups import GROUPS, errors


@pytest.mark.parametrize("layout", ["rs", "logcov"])
def test_groups_cover_every_column_once(layout: str) -> None:
    taken = [column for part in GROUPS[layout].values() for column in range(8)[part]]
    assert sorted(taken) == list(range(8))


def test_the_error_of_a_group_is_that_of_its_columns() -> None:
    found, wanted = torch.zeros(2, 3, 8), torch.zeros(2, 3, 8)
    wanted[..., 4] = 2.0
    each = errors(found, wanted, GROUPS["rs"])
    assert {name: float(error) for name, error in each.items()} == {
        "xy": 0, "scale": 0, "rot": 4, "feat": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("equal", (1, 1, 1, 1)),
        ("channels", (1 / 2, 1 / 2, 1, 1 / 3)),
        ("perscalar", (2 / 8, 2 / 8, 1 / 8, 3 / 8)),
        ("mixed", (1, 1, 1, 1)),
    ],
)
def test_losses_weigh_the_groups(kind: str, weights: tuple[float, ...]) -> None:
    assert tuple(weighted(kind, GroupWeights(), GROUPS["rs"]).values()) == pytest.approx(weights)
    heavy = weighted(kind, GroupWeights(rot=3), GROUPS["rs"])
    assert heavy["rot"] == pytest.approx(3 * weights[2])


def test_perscalar_is_the_plain_mean_over_columns() -> None:
    found, wanted = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    groups = GROUPS["rs"]
    weights = weighted("perscalar", GroupWeights(), groups)
    recon = reconstruction(found, wanted, groups, weights)
    torch.testing.assert_close(recon.loss, (found - wanted).square().mean())


def test_the_picture_s_error_takes_over_by_its_share() -> None:
    found, wanted = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    groups = GROUPS["rs"]
    weights = weighted("equal", GroupWeights(), groups)

    def of(share: float) -> float:
        ten = torch.tensor(10.0)
        return float(reconstruction(found, wanted, groups, weights, share, lambda: ten).loss)

    assert of(1.0) == 10
    assert of(0.25) == pytest.approx(0.75 * of(0.0) + 2.5)


def test_the_picture_s_error_is_squares_and_dissimilarity() -> None:
    picture = torch.rand(1, 3, 16, 16)
    assert picture_error(picture, picture, 100, 0.2) == pytest.approx(0, abs=1e-4)
    other = picture + 0.1
    assert picture_error(other, picture, 100, 0) == pytest.approx(1.0, rel=1e-4)
    assert picture_error(other, picture, 100, 0.2) > 1.0
