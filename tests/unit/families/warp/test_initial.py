"""Where weights start."""

from __future__ import annotations

import pytest
import torch

from weft.errors import ConfigError
from weft.families.warp.initial import FreeInitial, GradualInitial
from weft.families.warp.layer import Layer
from weft.families.warp.root import MlpRoot
from weft.families.warp.rule import Rule


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
