"""The root network: its layout, its first weights, and how one weight vector meets many places."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weft.errors import ConfigError
from weft.families.warp.cell.activation import ACTIVATIONS, activation
from weft.families.warp.cell.root import MlpRoot


def test_a_root_is_the_torch_network_with_the_same_weights() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2))
    net = net.double()
    root = MlpRoot(3, 2, width=5, depth=2, nonlinearity="tanh")
    theta = nn.utils.parameters_to_vector(net.parameters())
    z = torch.randn(7, 3, dtype=torch.float64)
    assert root.size == len(theta)
    torch.testing.assert_close(root(theta, z), net(z), rtol=1e-12, atol=1e-12)
    rows = root(theta.expand(7, -1), z)
    torch.testing.assert_close(rows, net(z), rtol=1e-12, atol=1e-12)


def test_weights_and_places_broadcast() -> None:
    root = MlpRoot(2, 3, width=4, depth=1)
    theta, z = torch.randn(5, root.size).double(), torch.randn(6, 2).double()
    out = root(theta.unsqueeze(1), z.expand(5, 6, 2))
    assert out.shape == (5, 6, 3)
    for n in range(5):
        for m in range(6):
            torch.testing.assert_close(out[n, m], root(theta[n], z[m]), rtol=1e-12, atol=1e-12)


def test_depth_zero_is_one_affine_map() -> None:
    root = MlpRoot(2, 3, depth=0)
    theta = torch.arange(9.0)
    expected = torch.tensor([[0.0, 1], [2, 3], [4, 5]]) @ torch.tensor([1.0, -1]) + theta[6:]
    assert torch.equal(root(theta, torch.tensor([1.0, -1])), expected)


def test_first_weights_and_biases_stay_within_one_over_the_root_of_the_inputs() -> None:
    root = MlpRoot(1, 2, width=16, depth=1)
    theta = torch.stack([root.fresh(torch.Generator().manual_seed(i)) for i in range(50)])
    first, second = theta[:, :32].abs(), theta[:, 32:].abs()
    assert 0.9 < first.max() <= 1
    assert 0.23 < second.max() <= 0.25
    again = root.fresh(torch.Generator().manual_seed(0))
    assert torch.equal(theta[0], again)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_slope_is_the_derivative_of_its_activation(name: str) -> None:
    chosen = activation(name)
    x = torch.linspace(-3, 3, 14, dtype=torch.float64, requires_grad=True)
    y = chosen(x)
    (expected,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(chosen.slope(x, y).detach(), expected, rtol=1e-12, atol=1e-12)


def test_an_unknown_activation_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="there is no activation `tahn`") as caught:
        activation("tahn")
    assert "tanh" in caught.value.hint
