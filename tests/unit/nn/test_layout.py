"""Weights of convolutions are laid out anew, and nothing else changes."""

from __future__ import annotations

import torch
from torch import nn

from weft.nn.layout import channels_last


def test_only_the_layout_of_four_dimensional_weights_changes() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    parameters = list(module.parameters())
    assert channels_last(module) is module
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not module[0].weight.is_contiguous()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))
