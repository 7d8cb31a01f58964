"""Nets of splat sets: shapes, what pools forget, padding of even kernels, z-scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from weft.errors import ConfigError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.model import SplatVAE, build_model
from weft.families.gaussvae.nets.keras import KerasBatchNorm, SameConv1d


def model(splats: int = 16, cells: tuple[int, int] | None = (4, 4), **values: Any) -> SplatVAE:
    small = {"encoder_dense_units": 8}
    return build_model(
        Config.model_validate({"epochs": 1, "latent_dim": 3, "net": small, **values}), splats, cells
    )


@pytest.mark.parametrize("arch", ["conv1d", "resnet", "grid2d"])
@pytest.mark.parametrize("pool", ["gap", "flatten", "attn"])
def test_every_net_maps_splats_to_latents_and_back(arch: str, pool: str) -> None:
    net = model(arch=arch, pool=pool)
    mean, log_var = net.encode(torch.randn(2, 16, 8))
    assert mean.shape == log_var.shape == (2, 3)
    assert net.decode(mean).shape == (2, 16, 8)


def test_only_the_mean_over_positions_forgets_where_splats_stand() -> None:
    x = torch.randn(1, 16, 8)
    for pool, forgets in (("gap", True), ("flatten", False), ("attn", False)):
        torch.manual_seed(0)
        net = model(pool=pool, net={"encoder_kernel_sizes": [1, 1, 1],
                                    "encoder_pool_sizes": [None, None, None]}).eval()  # fmt: skip
        with torch.no_grad():
            same = torch.allclose(net.encode(x)[0], net.encode(x.flip(1))[0], atol=1e-6)
        assert same == forgets, pool


def test_cells_of_the_plane_keep_the_order_of_the_splats() -> None:
    places = model(arch="grid2d").encoder.places
    x = torch.randn(2, 16, 8)
    assert torch.equal(places.listed(places.laid(x)), x)
    # Hilbert's order: neighbours in the list are neighbours in the plane.
    numbered = torch.arange(16.0)[None, :, None].expand(1, 16, 8)
    plane = places.laid(numbered)[0, 0]
    steps = [(plane == n).nonzero()[0] - (plane == n + 1).nonzero()[0] for n in range(15)]
    assert all(step.abs().sum() == 1 for step in steps)


def test_the_plane_needs_a_grid_that_its_pools_divide() -> None:
    with pytest.raises(ConfigError, match="lie on a grid"):
        model(arch="grid2d", cells=None)
    with pytest.raises(ConfigError, match="no multiple of 4"):
        model(splats=48, arch="grid2d", cells=(6, 8))


def test_even_kernels_are_padded_more_behind() -> None:
    conv = SameConv1d(1, 1, 4)
    x = torch.randn(1, 1, 1, 9)
    wanted = F.conv1d(F.pad(x[:, :, 0], (1, 2)), conv.weight, conv.bias)
    torch.testing.assert_close(conv(x)[:, :, 0], wanted)


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("repeats", [2, 3])
def test_a_convolution_of_repeated_positions_is_that_of_the_longer_line(
    taps: int, repeats: int
) -> None:
    conv = SameConv1d(3, 4, taps, repeats).double()
    x = torch.randn(2, 3, 1, 7, dtype=torch.float64, requires_grad=True)
    longer = F.pad(x.repeat_interleave(repeats, 3)[:, :, 0], ((taps - 1) // 2, taps // 2))
    found, wanted = conv(x)[:, :, 0], F.conv1d(longer, conv.weight, conv.bias)
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-13)
    slope = torch.randn_like(wanted)
    leaves = (x, conv.weight, conv.bias)
    for mine, true in zip(
        torch.autograd.grad(found, leaves, slope),
        torch.autograd.grad(wanted, leaves, slope),
        strict=True,
    ):
        torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


def test_batch_norm_moves_both_statistics_as_keras_does() -> None:
    norm, x = KerasBatchNorm(2).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    norm(x)
    torch.testing.assert_close(norm.running_mean, 0.01 * x.mean((0, 2)))
    torch.testing.assert_close(norm.running_var, 0.99 + 0.01 * x.var((0, 2), unbiased=False))


def test_z_scores_come_back_as_splats() -> None:
    net, x = model(data={"statistics": "index"}), torch.randn(2, 16, 8)
    assert net.mean.shape == (16, 8)
    net.mean.copy_(torch.randn(16, 8))
    net.std.copy_(torch.rand(16, 8) + 0.5)
    torch.testing.assert_close(net.raw(net.standardised(x)), x)
