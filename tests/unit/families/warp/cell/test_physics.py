"""Formula roots: their sizes, deviations, batching, and how a user adds one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from weft.errors import ConfigError
from weft.families.warp.cell import physics
from weft.families.warp.cell.formula import FormulaRoot, Law
from weft.families.warp.cell.physics import physics_root, register_root
from weft.families.warp.cell.root import MlpRoot


@pytest.fixture
def no_own_roots(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(physics, "_OWN", {})
    yield


def build(name: str, inputs: int = 1, channels: int = 0, deviations: int = 0) -> FormulaRoot:
    return physics_root(name, inputs, channels, deviations, width=4, depth=2, nonlinearity="tanh")


def decay(theta: Tensor, tau: Tensor, x: Tensor) -> Tensor:
    return theta[..., :1] * torch.exp(-theta[..., 1:] * tau) + x.sum(-1, keepdim=True)


def test_a_user_s_law_becomes_a_root(no_own_roots: None) -> None:
    register_root("decay", Law(decay, size=2, outputs=1))
    root = build("physics:decay", inputs=4, channels=2)
    z = torch.tensor([[0.5, 9.0, 0.25, 0.5]])  # time, another clock feature, two channels
    out = root(torch.tensor([[2.0, 1.0]]), z)
    assert out.item() == pytest.approx(2 * 2.718281828 ** (-0.5) + 0.75)
    assert root.size == 2 and root.outputs == 1
    assert torch.equal(root.fresh(), torch.zeros(2))


def test_a_law_without_data_sees_no_channels(no_own_roots: None) -> None:
    register_root("decay", Law(decay, size=2, outputs=1))
    out = build("decay", inputs=2)(torch.tensor([2.0, 0.0]), torch.tensor([0.5, 9.0]))
    assert out.tolist() == [2.0]


def test_a_taken_name_is_refused_and_a_repeated_registration_is_not(no_own_roots: None) -> None:
    law = Law(decay, 2, 1)
    register_root("decay", law)
    register_root("decay", law)
    with pytest.raises(ConfigError, match="already"):
        register_root("decay", Law(decay, 2, 1))
    with pytest.raises(ConfigError, match="already"):
        register_root("sine", law)


def test_an_unknown_root_names_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        build("physics:sin")
    assert "physics:sine" in caught.value.expected
    assert "sine" in caught.value.hint


def test_the_sine_root_is_as_large_as_its_phase_network() -> None:
    assert build("sine").size == MlpRoot(1, 1, 4, 2).size


@pytest.mark.parametrize(
    ("name", "outputs"), [("sine", 1), ("msd", 2), ("msd-start", 2), ("oscillator", 2)]
)
def test_deviations_are_weights_of_their_own(name: str, outputs: int) -> None:
    plain, uncertain = build(name), build(name, deviations=outputs)
    theta = torch.randn(3, uncertain.size)
    z = torch.rand(3, 1)
    out = uncertain(theta, z)
    assert out.shape == (3, 2 * outputs)
    assert torch.equal(out[:, :outputs], plain(theta[:, : plain.size], z))
    assert torch.equal(out[:, outputs:], theta[:, plain.size :])


@pytest.mark.parametrize("name", ["sine", "msd", "msd-start", "oscillator"])
def test_weights_and_times_broadcast(name: str) -> None:
    root = build(name)
    theta, z = torch.randn(5, 1, root.size), torch.rand(7, 1)
    out = root(theta, z)
    assert out.shape == (5, 7, root.outputs)
    assert torch.allclose(out[2, 3], root(theta[2, 0], z[3]), atol=1e-6)


@pytest.mark.parametrize("name", ["sine", "msd", "msd-start", "oscillator"])
def test_the_vector_jacobian_product_agrees_with_autograd(name: str) -> None:
    root = build(name)
    theta = torch.randn(4, root.size, dtype=torch.float64, requires_grad=True)
    z, g = torch.rand(4, 1).double(), torch.randn(4, root.outputs).double()
    _, pull = torch.func.vjp(lambda t: root(t, z), theta.detach())
    (expected,) = torch.autograd.grad(root(theta, z), theta, g)
    assert torch.allclose(pull(g)[0], expected, rtol=1e-12)
