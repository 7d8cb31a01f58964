"""Where weights start."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weft.errors import ConfigError
from weft.families.warp.cell.formula import Dynamics, FormulaRoot, Law
from weft.families.warp.cell.initial import FreeInitial, GradualInitial
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.oscillator import oscillator
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import MlpRoot


def test_free_weights_start_as_a_fresh_root_and_are_shared() -> None:
    root, first = MlpRoot(1, 2), torch.randn(4, 2)
    torch.manual_seed(3)
    initial = FreeInitial(root)
    torch.manual_seed(3)
    assert torch.equal(initial(first), root.fresh())
    assert initial.shared


@pytest.mark.parametrize(
    ("hidden", "widths"), [(0, [2, 1298]), (1, [2, 650, 1298]), (2, [2, 434, 866, 1298])]
)
def test_hidden_widths_lie_evenly_between_data_and_weights(hidden: int, widths: list[int]) -> None:
    phi = GradualInitial(2, 1298, hidden, "relu")
    assert [layer.in_features for layer in phi.maps] + [phi.maps[-1].out_features] == widths
    assert phi(torch.randn(3, 2)).shape == (3, 1298)


def test_hidden_layers_have_the_activation_between_them_and_none_after() -> None:
    torch.manual_seed(0)
    phi = GradualInitial(2, 6, 1, "relu")
    x = torch.randn(5, 2)
    expected = phi.maps[1](torch.relu(phi.maps[0](x)))
    assert torch.equal(phi(x), expected) and (expected < 0).any()


def test_more_than_two_hidden_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot have 3 hidden layers"):
        GradualInitial(2, 6, 3, "relu")


def test_a_layer_starts_with_no_drive_and_the_identity_unless_told_otherwise() -> None:
    root = MlpRoot(1, 2)
    layer = Layer(root, Rule(2), 1)
    assert layer.B.shape == (root.size, 3) and not layer.B.any()
    assert not layer.transition.E.any()
    torch.manual_seed(0)
    random = Layer(root, Rule(2), 1, drive_std=1e-2).B
    assert random.std().item() == pytest.approx(1e-2, rel=0.05)


def test_noise_makes_the_start_each_sequence_s_own() -> None:
    layer, first = Layer(MlpRoot(1, 2), Rule(2)), torch.randn(3, 2)
    noise = torch.randn(3, layer.root.size)
    assert layer.start(first).shape == (layer.root.size,)
    assert torch.equal(layer.start(first, noise), layer.initial(first) + noise)


def test_a_linear_network_without_biases_is_odd_and_linear() -> None:
    phi = GradualInitial(1, 5, 0, "relu", bias=False)
    x = torch.randn(4, 1)
    assert torch.equal(phi(-x), -phi(x)) and phi(x).any()
    assert [name for name, _ in phi.named_parameters()] == ["maps.0.weight"]


def test_a_law_may_say_where_the_recurrence_starts() -> None:
    A, B, W = torch.randn(3, 3), torch.randn(3, 2), torch.randn(3, 2)
    law = Law(lambda theta, tau, x: theta[..., :2], 3, 2, dynamics=lambda: Dynamics(A, B, W))
    layer = Layer(FormulaRoot(law, 1, deviations=1), Rule(2), 1)
    x = torch.randn(5, 2)
    free = torch.zeros(5, 1)
    assert torch.allclose(layer.transition.dense()[:3, :3], A)
    assert torch.equal(layer.transition.dense()[3], torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert torch.equal(layer.B, torch.nn.functional.pad(B, (0, 1, 0, 1)))
    assert torch.allclose(layer.start(x), torch.cat([x @ W.mT, free], 1))
    assert not layer.initial.shared


@pytest.mark.parametrize("option", [{"transition": "diag"}, {"initial_layers": 1}])
def test_a_law_s_start_needs_room(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="brings the start"):
        Layer(FormulaRoot(oscillator(), 1), Rule(2), **option)


def test_a_law_s_start_needs_its_channels() -> None:
    with pytest.raises(ConfigError, match="moved by 2 channels, and the data have 3"):
        Layer(FormulaRoot(oscillator(), 1), Rule(3))
