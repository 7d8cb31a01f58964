"""Dropout's share, its independence, its gradients, and that it leaves memory as it lay."""

from __future__ import annotations

import pytest
import torch

from weft.nn.dropout import Dropout, dropout


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    torch.manual_seed(0)
    dropped = dropout(torch.ones(300, 333), 0.1, training=True)
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(0.1, abs=4 * (0.09 / dropped.numel()) ** 0.5)
    assert dropped.mean().item() == pytest.approx(1, abs=0.005)
    kept = round(0.1 * 65536) / 65536
    torch.testing.assert_close(dropped.max().item(), 1 / (1 - kept), rtol=1e-6, atol=0)
    x = torch.randn(7)
    assert dropout(x, 0.1, training=False) is x and dropout(x, 0.0, training=True) is x


def test_dropout_drops_neighbours_independently_and_passes_gradients() -> None:
    torch.manual_seed(0)
    x = torch.ones(40_001, requires_grad=True)
    out = dropout(x, 0.5, training=True)
    kept = (out.detach() > 0).double()
    for distance in (1, 2, 3, 4):
        both = (kept[distance:] * kept[:-distance]).mean().item()
        assert both == pytest.approx(0.25, abs=0.02)
    out.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, out.detach())


def test_what_it_returns_lies_in_memory_as_it_was_given() -> None:
    x = torch.randn(2, 5, 3).transpose(1, 2)
    assert dropout(x, 0.3, training=True).stride() == x.stride()


def test_as_a_module_it_drops_in_training_alone() -> None:
    module, x = Dropout(0.5), torch.ones(1000)
    assert (module(x) == 0).any() and module.eval()(x) is x
