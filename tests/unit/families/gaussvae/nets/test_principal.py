"""Principal components of pictures and of their mirror images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.families.gaussvae.nets.principal import Principal

SHAPE = (3, 4, 6)


def pictures(count: int = 200) -> Tensor:
    """Pictures that mostly differ in two ways, of 8 bits."""
    generator = torch.Generator().manual_seed(0)
    ways = torch.randn(2, *SHAPE, generator=generator)
    amounts = torch.randn(count, 2, generator=generator) * torch.tensor([30.0, 15.0])
    noise = torch.randn(count, *SHAPE, generator=generator)
    values = 128 + torch.einsum("nk,kchw->nchw", amounts, ways) + 2 * noise
    return values.round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module", params=[200, 20], ids=["many", "few"])
def images(request: pytest.FixtureRequest) -> Tensor:
    """More pictures than half the numbers of one, and fewer."""
    return pictures(request.param)


@pytest.fixture(scope="module")
def fitted(images: Tensor) -> Principal:
    principal = Principal(SHAPE, 10)
    principal.fit(images)
    return principal


def test_components_are_those_of_all_pictures_and_mirror_images_written_out(
    fitted: Principal, images: Tensor
) -> None:
    bright = images.double() / 255
    both = torch.cat((bright, bright.flip(-1))).flatten(1)
    centred = both - both.mean(0)
    _, deviations, directions = torch.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(fitted.mean.double(), both.mean(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        fitted.deviation.double(), deviations[:10] / len(both) ** 0.5, rtol=1e-4, atol=1e-7
    )
    agree = (fitted.basis[:4].double() * directions[:4]).sum(1).abs()
    torch.testing.assert_close(agree, torch.ones_like(agree), rtol=1e-4, atol=0)


def test_coefficients_have_the_stated_deviations_and_the_basis_is_orthonormal(
    fitted: Principal, images: Tensor
) -> None:
    bright = images.float() / 255
    q = torch.cat((fitted(bright), fitted(bright.flip(-1))))
    torch.testing.assert_close(q.std(0, unbiased=False), fitted.deviation, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(fitted.basis @ fitted.basis.t(), torch.eye(10), rtol=0, atol=1e-4)


def test_more_components_are_nearer_to_the_picture_and_all_of_them_are_the_picture() -> None:
    images = pictures(40).float() / 255
    principal = Principal(SHAPE, 72)
    principal.fit(images)
    q = principal(images)
    errors = [
        float((principal.back(q[:, :count]) - images).square().mean()) for count in (2, 10, 72)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-10


def test_bytes_and_shares_of_one_give_the_same_components(
    fitted: Principal, images: Tensor
) -> None:
    again = Principal(SHAPE, 10)
    again.fit(images.float() / 255)
    torch.testing.assert_close(again.basis, fitted.basis, rtol=0, atol=1e-4)


def test_an_odd_width_has_a_middle_column_of_its_own() -> None:
    images = pictures(60)[..., :5].float() / 255
    principal = Principal((3, 4, 5), 60)
    principal.fit(images)
    torch.testing.assert_close(principal.back(principal(images)), images, rtol=0, atol=1e-4)
    both = torch.cat((images, images.flip(-1))).flatten(1)
    spread = (both - both.mean(0)).square().sum() / len(both)
    torch.testing.assert_close(principal.deviation.square().sum(), spread, rtol=1e-4, atol=0)


def test_fewer_pictures_than_components_leave_deviations_above_zero() -> None:
    principal = Principal(SHAPE, 10)
    principal.fit(pictures(2))
    assert float(principal.deviation.min()) > 0
    assert bool(principal(pictures(2).float() / 255).isfinite().all())


def test_weights_carry_what_was_fitted(fitted: Principal) -> None:
    other = Principal(SHAPE, 10)
    assert not other.fitted
    other.load_state_dict(fitted.state_dict())
    assert other.fitted
    assert torch.equal(other.basis, fitted.basis)
