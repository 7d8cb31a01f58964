"""Weights of convolutions and images are laid out anew, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weft.nn.layout import channels_last, pixels_last


def test_only_the_layout_of_four_dimensional_weights_changes() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    parameters = list(module.parameters())
    assert channels_last(module) is module
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not module[0].weight.is_contiguous()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_strides_of_images_say_channels_last_for_a_single_channel_too(channels: int) -> None:
    images = torch.randn(2, channels, 5, 4)
    laid = pixels_last(images)
    assert torch.equal(laid, images)
    assert laid.stride() == (20 * channels, 1, 4 * channels, channels)
