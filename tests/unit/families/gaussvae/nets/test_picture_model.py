"""Pictures to latents to splats: it begins as principal components, and stays in its bounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weft import api
from weft.errors import ConfigError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.nets.picture_model import PictureModel, build_picture_model
from weft.families.gaussvae.nets.splat_decoder import SplatDecoder
from weft.families.gaussvae.reference import blend
from weft.families.gaussvae.splats.geometry import Frame, ellipses

SHAPE = (3, 16, 16)
WORDS = (
    "data.dataset=drawn",
    "latent_dim=6",
    "picture.components=40",
    "picture.width=24",
    "picture.splats=64",
)


def build(*words: str, shape: tuple[int, int, int] = SHAPE) -> PictureModel:
    torch.manual_seed(0)
    config = api.configure("gaussvae/cifar10", *WORDS, *words).config
    assert isinstance(config, Config)
    return build_picture_model(config, shape)


def stirred(decoder: SplatDecoder, std: float) -> None:
    """Lets splats follow the latent, which at first they do not."""
    torch.nn.init.normal_(decoder.mlp.leave.get_parameter("1.weight"), std=std)


def smooth(count: int = 120) -> Tensor:
    """Pictures without detail, which a coarse grid can show: (count, 3, 16, 16)."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(count, 3, 4, 4, generator=generator)
    large = torch.nn.functional.interpolate(small, size=16, mode="bicubic")
    return large.clamp(0, 1)


@pytest.fixture
def begun() -> PictureModel:
    model = build().eval()
    model.start_from(smooth())
    return model


def test_it_begins_as_principal_components_of_as_many_numbers(begun: PictureModel) -> None:
    images = smooth()
    linear = begun.principal.back(begun.principal(images)[:, :6])
    with torch.no_grad():
        off = float((begun(images) - linear).square().mean())
    spread = float((images - images.mean(0)).square().mean())
    assert off < 0.02 * spread
    torch.testing.assert_close(
        begun.encode(images).mean, begun.principal(images)[:, :6] / begun.principal.deviation[:6]
    )


def test_without_the_linear_start_it_does_not(begun: PictureModel) -> None:
    images = smooth()
    other = build().eval()
    other.start_from(images, linear=False)
    with torch.no_grad():
        assert (other(images) - images).square().mean() > 4 * (
            begun(images) - images
        ).square().mean()


def test_a_decoder_of_pixels_begins_as_components_exactly() -> None:
    model = build("picture.decoder=pixels").eval()
    images = smooth()
    model.start_from(images)
    linear = model.principal.back(model.principal(images)[:, :6])
    torch.testing.assert_close(model(images), linear, rtol=0, atol=1e-5)
    with pytest.raises(TypeError, match="no splats"):
        model.splats(torch.zeros(1, 6))


def test_the_picture_is_the_reference_s_render_of_the_splats(begun: PictureModel) -> None:
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(3))
    assert isinstance(begun.decoder, SplatDecoder)
    stirred(begun.decoder, 0.02)
    with torch.no_grad():
        splats, picture = begun.splats(z), begun.decode(z)
    assert splats.shape == (2, 64, 8)
    frame = Frame(0, 16, 16, 16, 16, 0.5, 3.5, normalised=True, topk=0)
    wanted = blend(ellipses(splats.double(), frame), frame)
    torch.testing.assert_close(picture.double(), wanted, rtol=0, atol=5e-3)


def test_splats_stay_near_their_cells_and_within_their_bounds_whatever_the_latent() -> None:
    decoder = SplatDecoder((16, 24), (4, 6), 3, 8)
    stirred(decoder, 50)
    splats = decoder(torch.randn(5, 3)).detach()
    rows, columns = torch.arange(24) // 6, torch.arange(24) % 6
    assert float((splats[..., 0] - (columns + 0.5) / 6).abs().max()) <= 1 / 6 + 1e-6
    assert float((splats[..., 1] - (rows + 0.5) / 4).abs().max()) <= 1 / 4 + 1e-6
    start = 2 * math.log(0.6 * 4)
    assert float((splats[..., 2] - start).abs().max()) <= 3 + 1e-5
    assert float(splats[..., 3:5].abs().max()) <= 2.5


def test_a_grid_that_stays_changes_colours_alone() -> None:
    decoder = SplatDecoder((16, 16), (4, 4), 3, 8, shapes=False)
    stirred(decoder, 1)
    one, other = decoder(torch.randn(2, 3)).detach()
    assert torch.equal(one[:, :5], other[:, :5])
    assert not torch.equal(one[:, 5:], other[:, 5:])


def test_log_variances_are_held_and_there_are_none_without_a_divergence() -> None:
    images = smooth(4)
    assert build().encode(images).log_variance is None
    model = build("beta.max=0.001")
    model.start_from(images)
    torch.nn.init.constant_(model.encoder.linear.bias[6:], 1000.0)
    found = model.encode(images).log_variance
    assert found is not None
    torch.testing.assert_close(found, torch.full((4, 6), 3.0))


def test_components_that_a_picture_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no 60 principal components"):
        build("picture.components=60", shape=(3, 4, 4))
    with pytest.raises(ConfigError, match="out of reach"):
        build(shape=(3, 256, 256))
