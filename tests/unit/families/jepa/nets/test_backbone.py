"""Every encoder: shapes, sizes, gradients, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from weft.errors import ConfigError
from weft.families.jepa.nets.backbone import Encoder, build_backbone, difference
from weft.families.jepa.options.sections import ModelConfig

DIMS = {
    "menet5": 64, "resnet18": 512, "resnet18ID": 512, "lenet5": 128, "canonical": 64, "mlp": 64,
    "pixel": 512, "id": 784,
}  # fmt: skip


def _encoder(channels: int = 1, **options: Any) -> Encoder:
    torch.manual_seed(0)
    config = {"embedding_size": 64, "backbone_width_factor": 1, **options}
    return Encoder(ModelConfig(**config), channels, 28)


def test_published_encoder_has_0_39_million_parameters_and_4_77_million_products_a_frame() -> None:
    encoder = Encoder(ModelConfig(), 1, 28)
    assert sum(p.numel() for p in encoder.parameters()) == 384_768
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(torch.zeros(1, 1, 1, 28, 28))
    assert counter.get_total_flops() / 2 == pytest.approx(4.77e6, rel=2e-3)


@pytest.mark.parametrize("arch", DIMS)
def test_every_encoder_learns_from_every_frame(arch: str) -> None:
    encoder = _encoder(arch=arch)
    image = torch.randn(3, 2, 1, 28, 28, requires_grad=True)
    codes = encoder(image)
    assert codes.shape == (2, 3, DIMS[arch])
    assert encoder.dim == DIMS[arch]
    codes.tanh().sum().backward()
    assert image.grad is not None
    assert bool(image.grad.flatten(2).any(dim=-1).all())
    # Residuals that start at zero pass their own gradient on to the last norm only.
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize("arch", DIMS)
def test_maps_of_features_are_named_where_codes_are_maps(arch: str) -> None:
    backbone = build_backbone(ModelConfig(arch=arch, embedding_size=64), 2, 28)
    assert (backbone.map is not None) == (arch in ("canonical", "pixel", "id"))
    if backbone.map is not None:
        channels, height, width = backbone.map
        assert channels * height * width == backbone.dim


def test_relu_comes_before_batch_norm() -> None:
    kinds = [type(layer).__name__ for layer in _encoder().net]
    assert kinds[:3] == ["PatchedConv", "ReLU", "BatchNorm2d"]


def test_appended_layers_end_without_bias_and_set_the_width() -> None:
    encoder = _encoder(backbone_mlp="48-32")
    assert encoder(torch.randn(2, 3, 1, 28, 28)).shape == (3, 2, 32)
    assert encoder.net[-1].bias is None


@pytest.mark.parametrize("arch", ["menet5", "resnet18", "lenet5", "canonical"])
def test_memory_format_changes_no_number(arch: str) -> None:
    image = torch.randn(3, 2, 1, 28, 28)
    codes = [_encoder(arch=arch, channels_last=last)(image) for last in (False, True)]
    torch.testing.assert_close(*codes, rtol=1e-4, atol=1e-4)


def test_frames_are_encoded_one_like_another() -> None:
    encoder = _encoder().eval()
    image = torch.randn(3, 2, 1, 28, 28)
    codes = encoder(image)
    torch.testing.assert_close(codes[1], encoder(image[:, 1:])[0], rtol=1e-4, atol=1e-4)


def test_differences_of_frames_hide_what_stays() -> None:
    frames = torch.randn(3, 2, 1, 28, 28)
    background = torch.randn(2, 1, 28, 28)
    changes = difference(frames)
    torch.testing.assert_close(changes[1], frames[1] - frames[0])
    assert not changes[0].any()
    torch.testing.assert_close(difference(frames + background), changes, rtol=0, atol=1e-5)
    assert _encoder(channels=3, frame_difference=True).net[0].in_channels == 6


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        ({"arch": "canonical", "embedding_size": 128}, 28, "64, 256, 576"),
        ({"arch": "canonical", "embedding_size": 32}, 28, "64, 256, 576"),
        ({"arch": "canonical", "embedding_size": 64}, 12, "18 pixels"),
        ({"arch": "lenet5"}, 12, "16 pixels"),
        ({"arch": "menet5"}, 4, "5 pixels"),
        ({"arch": "pixel"}, 3, "4 pixels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    options: dict[str, Any], size: int, expected: str
) -> None:
    with pytest.raises(ConfigError) as error:
        build_backbone(ModelConfig(**options), 1, size)
    assert error.value.where == "model.arch"
    assert expected in error.value.expected


@pytest.mark.parametrize(("arch", "size"), [("canonical", 18), ("lenet5", 16), ("menet5", 5)])
def test_the_smallest_images_that_fit_are_encoded(arch: str, size: int) -> None:
    config = ModelConfig(arch=arch, embedding_size=64)
    assert Encoder(config, 1, size)(torch.randn(2, 2, 1, size, size)).shape[:2] == (2, 2)
